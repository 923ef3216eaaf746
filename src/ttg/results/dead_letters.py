"""Dead letters on disk, and looking at them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow.parquet as pq
from pyroaring import BitMap64

from ttg.messages import DeadLetter, Ranges, ranges_of
from ttg.results.arrow import pa
from ttg.results.dataset import load_ledger, part_paths
from ttg.results.folder import RunFolder

SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),
        ("parameters", pa.string()),
        ("kind", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
        ("place", pa.string()),
        ("traceback", pa.string()),
        ("output", pa.string()),
        ("seconds", pa.float64()),
        ("exit_code", pa.int64()),
        ("peak_memory_bytes", pa.int64()),
        ("attempts", pa.int32()),
        ("worker", pa.string()),
        ("at", pa.float64()),
    ]
)
_OF_FAILURE = ("kind", "error", "message", "place", "traceback", "output", "seconds", "exit_code", "peak_memory_bytes")


def table(letters: Sequence[DeadLetter]) -> pa.Table:
    """Dead letters as a table; parameters are JSON text."""
    return pa.Table.from_pylist([_row(letter) for letter in letters], schema=SCHEMA)


def indices(letters: Iterable[DeadLetter]) -> BitMap64:
    """The indices of the letters."""
    return BitMap64(letter.index for letter in letters)


def _row(letter: DeadLetter) -> dict[str, Any]:
    return {
        "index": letter.index,
        "parameters": msgspec.json.encode(letter.parameters).decode(),
        **{name: getattr(letter.failure, name) for name in _OF_FAILURE},
        "attempts": letter.attempts,
        "worker": letter.worker,
        "at": letter.at,
    }


def stamps(folder: RunFolder, wanted: BitMap64) -> Iterator[tuple[int, float]]:
    """(index, at) of every letter on disk for the ``wanted`` indices."""
    for path in part_paths(folder.dead) if wanted else ():
        stored = pq.read_table(path, columns=["index", "at"])
        for index, at in zip(stored["index"].to_pylist(), stored["at"].to_pylist(), strict=True):
            if index in wanted:
                yield index, at


def dead_letters(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """The letters of the parameters that are dead now, as dicts with the fields of a dead letter's part.

    Those that became a result since are passed over; of several letters of one index the last one counts.
    """
    dead = load_ledger(folder).dead()
    for path in reversed(part_paths(folder.dead)):
        if not dead:
            return
        for batch in pq.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                if row["index"] in dead:
                    dead.discard(row["index"])
                    yield _read(row)


@dataclass(slots=True)
class Cause:
    """Dead letters with the same cause: equal error type at the same place. ``sample`` is one of them."""

    error: str
    place: str
    sample: dict[str, Any]
    indices: BitMap64 = field(default_factory=BitMap64)

    @property
    def count(self) -> int:
        """How many parameters died of it."""
        return len(self.indices)

    @property
    def ranges(self) -> Ranges:
        """Which ones."""
        return ranges_of(self.indices)


def causes(folder: RunFolder) -> list[Cause]:
    """Dead letters grouped by cause, the most frequent first. Of a million of them, only the samples are read whole."""
    dead = load_ledger(folder).dead()
    found: dict[tuple[str, str], Cause] = {}
    for path in reversed(part_paths(folder.dead)):
        if not dead:
            break
        stored = pq.read_table(path)
        columns = (stored[name].to_pylist() for name in ("index", "error", "place"))
        for position, (index, error, place) in enumerate(zip(*columns, strict=True)):
            if index not in dead:
                continue
            dead.discard(index)
            if (error, place) not in found:
                found[error, place] = Cause(error, place, _read(stored.slice(position, 1).to_pylist()[0]))
            found[error, place].indices.add(index)
    return sorted(found.values(), key=lambda cause: -cause.count)


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """A letter; those that an earlier version wrote have no output."""
    return {"output": "", **row, "parameters": msgspec.json.decode(row["parameters"])}
