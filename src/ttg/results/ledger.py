"""The ledger: which indices of a run are settled. Pure; the dataset on disk is its durable form.

Two compressed bitmaps (Roaring, 64 bit), always disjoint: ``done`` has a result row, ``dead`` only a dead letter. A
result outranks a dead letter. Settling a chunk costs the same whatever the size of the run; so does asking how much is
done.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator

import numpy as np
from pyroaring import BitMap64

from ttg.errors import StorageError
from ttg.messages import Ranges, count_indices

_WINDOW = 1 << 16


class Ledger:
    """Settled indices of a run of ``size`` parameters."""

    def __init__(self, size: int, done: BitMap64 | None = None, dead: BitMap64 | None = None) -> None:
        self.size = size
        self._done = BitMap64() if done is None else done
        self._dead = BitMap64() if dead is None else dead - self._done
        self._done_count = len(self._done)
        self._dead_count = len(self._dead)

    @property
    def done_count(self) -> int:
        """Indices that have a result row."""
        return self._done_count

    @property
    def dead_count(self) -> int:
        """Indices that have a dead letter and no result."""
        return self._dead_count

    @property
    def missing_count(self) -> int:
        """Indices that are not settled."""
        return self.size - self._done_count - self._dead_count

    @property
    def complete(self) -> bool:
        """Whether every index is settled."""
        return self.missing_count == 0

    def copy(self) -> Ledger:
        """An independent ledger in the same state."""
        return Ledger(self.size, self._done.copy(), self._dead.copy())

    def done(self) -> BitMap64:
        """The indices that have a result row; a copy."""
        return self._done.copy()

    def dead(self) -> BitMap64:
        """The dead indices; a copy."""
        return self._dead.copy()

    # -- settling

    def settle_rows(self, ranges: Ranges) -> Ranges:
        """Mark ``ranges`` as done, also the dead among them; returns the part of them that was not done before."""
        new = self.lacking(ranges)
        for start, stop in new:
            self._unmark_dead(start, stop)
            self._done.add_range(start, stop)
        self._done_count += count_indices(new)
        return new

    def settle_dead(self, index: int) -> bool:
        """Mark ``index`` as dead; ``False`` when it was settled before."""
        if index in self._done or index in self._dead:
            return False
        self._dead.add(index)
        self._dead_count += 1
        return True

    def refuse(self, indices: Iterable[int]) -> None:
        """Make done indices dead: their rows came, and cannot be stored."""
        refused = self._done & BitMap64(indices)
        self._done -= refused
        self._dead |= refused
        self._done_count -= len(refused)
        self._dead_count += len(refused)

    def retry_dead(self, indices: Iterable[int]) -> int:
        """Make dead indices missing again, so that they can be tried again; returns how many of them were dead."""
        retried = self._dead & BitMap64(indices)
        self._dead -= retried
        self._dead_count -= len(retried)
        return len(retried)

    def lacking(self, ranges: Ranges) -> Ranges:
        """The part of ``ranges`` that is not done."""
        if not any(self._done.range_cardinality(start, stop) for start, stop in ranges):
            return ranges
        return tuple(gap for start, stop in ranges for gap in _gaps(self._done, start, stop))

    def _unmark_dead(self, start: int, stop: int) -> None:
        if self._dead_count and (count := self._dead.range_cardinality(start, stop)):
            self._dead.remove_range(start, stop)
            self._dead_count -= count

    # -- what is left

    def missing(self, start: int = 0, limit: int | None = None) -> Ranges:
        """The first ``limit`` unsettled indices from ``start`` on (all of them without ``limit``), as ranges.

        The work is proportional to what is settled in between, not to the size of the run.
        """
        found: list[tuple[int, int]] = []
        room = self.size if limit is None else limit
        for first, last in self._holes(start):
            if room <= 0:
                break
            last = min(last, first + room)
            room -= last - first
            _append(found, first, last)
        return tuple(found)

    def _holes(self, position: int) -> Iterator[tuple[int, int]]:
        """Unsettled stretches from ``position`` on, ascending; neighbours may touch."""
        while position < self.size:
            stop = min(position + _WINDOW, self.size)
            settled = self._done.range_cardinality(position, stop) + self._dead.range_cardinality(position, stop)
            if not settled:
                stop = min(_next(self._done, stop, self.size), _next(self._dead, stop, self.size))
                yield position, stop
            elif settled < stop - position:
                yield from _gaps(self._settled(position, stop), position, stop)
            position = stop

    def _settled(self, start: int, stop: int) -> BitMap64:
        window = BitMap64(range(start, stop))
        return (window & self._done) | (window & self._dead)

    def check(self) -> None:
        """Assert the invariants (for tests and simulations; costs a pass over the bitmaps)."""
        assert self._done.isdisjoint(self._dead), "an index is both done and dead"
        assert self._done_count == len(self._done), f"counted {self._done_count} done, have {len(self._done)}"
        assert self._dead_count == len(self._dead), f"counted {self._dead_count} dead, have {len(self._dead)}"
        assert _next(self._done, self.size, -1) == -1, "an index beyond the run is done"
        assert _next(self._dead, self.size, -1) == -1, "an index beyond the run is dead"


def _append(ranges: list[tuple[int, int]], start: int, stop: int) -> None:
    if ranges and ranges[-1][1] == start:
        ranges[-1] = (ranges[-1][0], stop)
    else:
        ranges.append((start, stop))


def _next(bitmap: BitMap64, position: int, otherwise: int) -> int:
    """The first member from ``position`` on, or ``otherwise``."""
    try:
        return int(bitmap.next_set_bit(position))
    except ValueError:
        return otherwise


def _gaps(bitmap: BitMap64, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The stretches of ``[start, stop)`` that are not in ``bitmap``, ascending."""
    members = np.frombuffer((bitmap & BitMap64(range(start, stop))).to_array(), dtype=np.uint64).astype(np.int64)
    edges = np.concatenate(([start - 1], members, [stop]))
    for position in np.flatnonzero(np.diff(edges) > 1).tolist():
        yield int(edges[position]) + 1, int(edges[position + 1])


# -- bitmaps as text


def bitmap_to_text(bitmap: BitMap64) -> str:
    """Base64 of the portable Roaring format, run-compressed."""
    bitmap.run_optimize()
    return base64.b64encode(bitmap.serialize()).decode("ascii")


def bitmap_from_text(text: str | bytes) -> BitMap64:
    """The inverse of :func:`bitmap_to_text`; anything else is a :class:`~ttg.errors.StorageError`."""
    try:
        return BitMap64.deserialize(base64.b64decode(text, validate=True))
    except (ValueError, IndexError, binascii.Error) as error:
        raise StorageError(f"expected a serialised bitmap of indices, got {text[:20]!r}: {error}") from error
