"""Following a run while it goes on: its rows and dead letters as they become known.

They come from what the collector has buffered, and from the parts on disk for what was written before it was looked at.
So whoever follows costs the run no memory, however slow they are, and may begin when they like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyroaring import BitMap64

from ttg.messages import DeadLetter
from ttg.messages.parameters import decoded
from ttg.results import dead_letters
from ttg.results.arrow import pa
from ttg.results.collector import Collector
from ttg.results.dataset import part_paths, read_part
from ttg.results.pieces import Piece, tables_of
from ttg.results.values import rows_of

AT_ONCE = 10_000
"""Rows that are made at once; as dicts they take some MiB."""


class Row(dict[str, Any]):
    """A row of the table as a dict: index, parameters, results, seconds, attempt, worker.

    A dead letter is a row without results: ``failure`` is what :meth:`ttg.Run.failures` tells of it (kind, error,
    message, traceback, …), and asking for a result is a ``KeyError`` that says why there is none.
    """

    failure: dict[str, Any] | None = None

    @classmethod
    def of_letter(cls, letter: dict[str, Any]) -> Row:
        """A dead letter, as read from disk."""
        parameters = decoded(letter["parameters"])
        row = cls({"index": letter["index"], **parameters})
        row.failure = letter | {"parameters": parameters}
        return row

    def __missing__(self, name: str) -> Any:
        if self.failure is None:
            raise KeyError(name)
        raise KeyError(f"{name}: index {self['index']} failed: {self.failure['error']}: {self.failure['message']}")


class Follower:
    """What became of the indices of a run, each once, about in the order in which that was known. For one thread at a
    time, which need not be the collector's."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._seen = BitMap64()
        self._rows, self._letters = _Tail(), _Tail()
        self._parts: set[Path] = set()
        self._on_disk = 0
        self._going: Iterator[list[Row]] = iter(())

    def take(self) -> list[Row]:
        """Some rows that were not taken before; none if there are none now."""
        rows = next(self._going, [])
        if not rows:
            self._going = self._look()
            rows = next(self._going, [])
        return rows

    def _look(self) -> Iterator[list[Row]]:
        pieces, letters = self._collector.buffered
        yield from self._of_pieces(self._rows.of(pieces))
        yield from self._of_letters(self._letters.of(letters))
        ledger = self._collector.ledger
        if (on_disk := ledger.done_count + ledger.dead_count) != self._on_disk:
            yield from self._of_parts(self._collector.folder.results, self._of_table)
            yield from self._of_parts(self._collector.folder.dead, self._of_dead)
            self._on_disk = on_disk  # not before all was read: what could not be is read the next time

    def _of_pieces(self, pieces: Sequence[Piece]) -> Iterator[list[Row]]:
        for table in tables_of(pieces, *self._collector.parameters, AT_ONCE):
            yield from self._of_table(table.to_batches())

    def _of_letters(self, letters: Iterable[DeadLetter]) -> Iterator[list[Row]]:
        new = [letter for letter in letters if letter.index not in self._seen]
        if new:
            yield self._noted([Row.of_letter(dead_letters.as_read(letter)) for letter in new])

    def _of_parts(self, directory: Path, read: Any) -> Iterator[list[Row]]:
        for path in part_paths(directory):
            if path not in self._parts:
                if not read_part(path).indices <= self._seen:
                    with pq.ParquetFile(path) as file:
                        yield from read(file.iter_batches(AT_ONCE))
                self._parts.add(path)

    def _of_table(self, batches: Iterable[pa.RecordBatch]) -> Iterator[list[Row]]:
        for batch in batches:
            if rows := [Row(row) for row in rows_of(batch) if row["index"] not in self._seen]:
                yield self._noted(rows)

    def _of_dead(self, batches: Iterable[pa.RecordBatch]) -> Iterator[list[Row]]:
        for batch in batches:
            if rows := [dead_letters.read(row) for row in batch.to_pylist() if row["index"] not in self._seen]:
                yield self._noted([Row.of_letter(row) for row in rows])

    def _noted(self, rows: list[Row]) -> list[Row]:
        self._seen.update(row["index"] for row in rows)
        return rows


class _Tail:
    """What was added to a list since the last look; another list is new from its start."""

    def __init__(self) -> None:
        self._list: list[Any] = []
        self._count = 0

    def of(self, items: list[Any]) -> list[Any]:
        if items is not self._list:
            self._list, self._count = items, 0
        new = items[self._count :]
        self._count += len(new)
        return new
