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


def as_read(letter: DeadLetter) -> dict[str, Any]:
    """A letter as :func:`dead_letters` will give it, once it is on disk."""
    return _row(letter) | {"parameters": letter.parameters}


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
                    yield read(row)


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
                found[error, place] = Cause(error, place, read(stored.slice(position, 1).to_pylist()[0]))
            found[error, place].indices.add(index)
    return sorted(found.values(), key=lambda cause: -cause.count)


@dataclass(slots=True)
class Story:
    """Parameters that were given up for the same cause: ``dead`` are so now, ``mended`` have a result since.
    ``attempts`` is what all their letters say, ``sample`` and ``letters`` are some of them, the newest first."""

    error: str
    place: str
    sample: dict[str, Any]
    dead: BitMap64 = field(default_factory=BitMap64)
    mended: BitMap64 = field(default_factory=BitMap64)
    attempts: int = 0
    first: float = 0.0
    last: float = 0.0
    letters: list[dict[str, Any]] = field(default_factory=list)

    @property
    def example(self) -> dict[str, Any]:
        """Index, message, traceback and output of the sample."""
        sample = self.sample
        return {
            "index": sample["index"],
            "message": sample["message"],
            "traceback": sample["traceback"] or "",
            "output": sample["output"] or "",
        }


def stories(folder: RunFolder, letters: int) -> list[Story]:
    """All causes for which parameters of this run were ever given up, those of the most dead ones first, each with at
    most so many ``letters`` of parameters that are dead now."""
    ledger = load_ledger(folder)
    dead, done, told = ledger.dead(), ledger.done(), BitMap64()
    found: dict[tuple[str, str], Story] = {}
    for path in reversed(part_paths(folder.dead)):
        stored = pq.read_table(path)
        columns = (stored[name].to_pylist() for name in ("index", "error", "place", "attempts", "at"))
        for position, (index, error, place, attempts, at) in enumerate(zip(*columns, strict=True)):
            story = found.get((error, place))
            if story is None:
                story = found[error, place] = Story(error, place, _letter(stored, position), first=at, last=at)
            story.attempts += attempts
            story.first, story.last = min(story.first, at), max(story.last, at)
            if index in told:  # this was an earlier life of it
                continue
            told.add(index)
            if index in dead:
                story.dead.add(index)
                if len(story.letters) < letters:
                    story.letters.append(_letter(stored, position))
            elif index in done:
                story.mended.add(index)
    return sorted(found.values(), key=lambda story: (-len(story.dead), -len(story.mended)))


def _letter(stored: pa.Table, position: int) -> dict[str, Any]:
    return read(stored.slice(position, 1).to_pylist()[0])


def read(row: dict[str, Any]) -> dict[str, Any]:
    """A letter; those that an earlier version wrote have no output."""
    return {"output": "", **row, "parameters": msgspec.json.decode(row["parameters"])}
