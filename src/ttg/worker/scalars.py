"""What a task's calls have returned so far, one value each, until the report takes it as a payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttg.results.plain import Numbers


class ScalarResults:
    """``items`` are for the caller to append to; after each block of calls, plain numbers among them are packed.

    ``packs`` says whether they may be: not where parameters travel with the rows.
    """

    def __init__(self, *, packs: bool = True) -> None:
        self.items: list[Any] = []
        self.row_bytes = 8.0
        self._numbers = Numbers()
        self._packs = packs

    @property
    def count(self) -> int:
        return self._numbers.count + len(self.items)

    def end_block(self, start: int) -> None:
        """The items from number ``start`` on are new. The first block of another kind unpacks all numbers."""
        if len(self.items) == start:
            return
        self.row_bytes = (rough_bytes(self.items[start]) + rough_bytes(self.items[-1])) / 2
        if self._packs and self._numbers.take(self.items):
            self.items = []
        else:
            self._unpack()

    def _unpack(self) -> None:
        self._packs = False
        if self._numbers.count:
            self.items = [*self._numbers.give_back(), *self.items]

    def payload(self, seconds: Sequence[float] | None, parameters: Mapping[str, Sequence[Any]]) -> bytes:
        if self._numbers.count:
            return self._numbers.payload(seconds)
        from ttg.results.encode import encode_rows  # imports Arrow, which many runs never need

        return encode_rows(self.items, seconds, parameters)

    def drop(self, position: int) -> None:
        self._unpack()
        del self.items[position]

    def keep(self, rows: int) -> None:
        self._unpack()
        del self.items[rows:]


def rough_bytes(value: Any) -> int:
    """Roughly what ``value`` takes in a payload; looks at no more than the ends of a sequence."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(rough_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return len(value) * max(map(rough_bytes, value[:2]), default=0)
    return int(getattr(value, "nbytes", 8))
