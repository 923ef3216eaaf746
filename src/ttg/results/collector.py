"""The collector: from result messages to durable parts of the dataset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pyroaring import BitMap64

from ttg.brokers.base import ResultMessage
from ttg.errors import MessageError
from ttg.messages import DeadLetter, Ranges, ResultHeader, check_ranges, count_indices
from ttg.results import dead_letters, statistics
from ttg.results.dataset import next_number, part_path, write_part
from ttg.results.encode import PARAMETER_PREFIX, decode_payload
from ttg.results.folder import RunFolder
from ttg.results.ledger import Ledger
from ttg.results.pieces import Piece
from ttg.results.refusals import letters_of, write_what_can_be
from ttg.results.rewrite import unify_parts
from ttg.spec import RunSpec

log = logging.getLogger("ttg.run")

PART_BYTES = 8 << 20
SMALL_PART_BYTES = 1 << 20
PART_AGE_SECONDS = 5.0
PART_AGE_SHARE = 0.05
PIECE_BYTES = 4096  # what a decoded message costs beyond its payload
LETTER_BYTES = 1024


class ParameterSource(Protocol):
    """What the collector needs of a space. ``arrays`` is called in a thread."""

    names: tuple[str, ...]
    computable: bool

    def arrays(self, indices: np.ndarray[Any, Any]) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Added:
    """What one message brought: new rows, new dead letters, and indices that were known already."""

    rows: int
    dead: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What :meth:`Collector.write` puts into parts number ``number``. ``cursor`` is that of its newest message."""

    number: int
    pieces: tuple[Piece, ...]
    letters: tuple[DeadLetter, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Written:
    """What is on disk now. ``cursor``: once this is committed, the results log is collected up to here. ``refused``
    are those of the ``dead`` that came with a row, which no part can hold."""

    ranges: tuple[Ranges, ...]
    dead: tuple[int, ...]
    cursor: str
    refused: tuple[int, ...] = ()


def _nothing() -> None:
    """Nobody follows the run."""


class Collector:
    """One per run, on the event loop's side; only :meth:`write` and :meth:`finalise` block and belong in a thread.

    ``ledger`` is what is on disk and changes in :meth:`commit` only; the figures of the collector itself also count
    what is buffered. Order of use: ``add* → due → take → write (thread) → commit``. When a ``write`` fails
    (``StorageError``), write the same batch again later, before the next one. ``space`` gives the parameter columns.
    """

    def __init__(self, folder: RunFolder, spec: RunSpec, space: ParameterSource, ledger: Ledger) -> None:
        self.ledger = ledger
        self.folder = folder
        self._spec = spec
        self._space = space
        self._admitted = ledger.copy()
        self._number = next_number(folder)
        self._pieces: list[Piece] = []
        self._letters: list[DeadLetter] = []
        self._cursor = ""
        self._bytes = 0
        self._rows = 0
        self._replayed: set[tuple[int, float]] = set()
        self._began: float | None = None
        self._buffered_since: float | None = None
        self.on_news: Callable[[], None] = _nothing
        """Called when something was taken in, or is on disk now."""

    # -- figures

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return self._spec.size

    @property
    def inputs(self) -> Path:
        """The folder of what the run needs beside its specification."""
        return self.folder.inputs

    @property
    def done_count(self) -> int:
        """Rows on disk or buffered."""
        return self._admitted.done_count

    @property
    def dead_count(self) -> int:
        """Dead letters on disk or buffered, without those that became a result."""
        return self._admitted.dead_count

    @property
    def complete(self) -> bool:
        """Every index is on disk or buffered: write and commit what is left, then finalise."""
        return self._admitted.complete

    @property
    def buffered_bytes(self) -> int:
        """Size of what the next batch will hold."""
        return self._bytes

    @property
    def buffered(self) -> tuple[list[Piece], list[DeadLetter]]:
        """What the next batch will hold: lists that grow, until others take their place. Also for other threads."""
        return self._pieces, self._letters

    @property
    def parameters(self) -> tuple[Sequence[str], ParameterSource | None]:
        """Their names, and what computes them, if they do not come with the rows."""
        return self._spec.names, self._space if self._space.computable else None

    def missing(self, start: int = 0, limit: int | None = None) -> Ranges:
        """As :meth:`Ledger.missing`, with what is buffered counted as settled."""
        return self._admitted.missing(start, limit)

    def lacking(self, ranges: Ranges) -> Ranges:
        """Those of ``ranges`` that have no row, on disk or buffered."""
        return self._admitted.lacking(ranges)

    # -- taking in

    def add(self, message: ResultMessage) -> Added:
        """Buffer what is new in ``message``. ``MessageError`` (and nothing changed) when it does not fit this run."""
        header = message.header
        piece = self._checked(header, message.payload)
        new = self._admitted.settle_rows(header.ranges)
        rows = count_indices(new)
        if rows:
            self._pieces.append(piece if rows == piece.rows else piece.only(new))
            self._bytes += PIECE_BYTES + len(message.payload)
            self._rows += rows
        dead = sum(map(self._add_letter, header.dead))
        self._cursor = message.cursor
        self.on_news()
        return Added(rows, dead, header.count + len(header.dead) - rows - dead)

    def _checked(self, header: ResultHeader, payload: bytes) -> Piece:
        if header.identity != self._spec.identity:
            raise MessageError(f"expected a result of run {self._spec.run}, got one of another run: {header.run}")
        try:
            check_ranges(header.ranges)
        except ValueError as error:
            raise MessageError(f"result of task {header.task}: {error}") from error
        last = max(
            (*(stop - 1 for _, stop in header.ranges[-1:]), *(letter.index for letter in header.dead)), default=0
        )
        if last >= self._spec.size or any(letter.index < 0 for letter in header.dead):
            raise MessageError(f"result of task {header.task}: index {last} is outside the run of {self._spec.size}")
        return self._decoded(header, payload)

    def _decoded(self, header: ResultHeader, payload: bytes) -> Piece:
        if not header.ranges:
            return Piece.empty(header)
        batch = decode_payload(payload)
        if batch.num_rows != header.count:
            raise MessageError(f"result of task {header.task}: expected {header.count} rows, got {batch.num_rows}")
        if not self._space.computable:
            absent = {PARAMETER_PREFIX + name for name in self._spec.names} - set(batch.schema.names)
            if absent:
                raise MessageError(f"result of task {header.task}: expected its parameters {sorted(absent)} beside it")
        return Piece.of(header, batch, self._spec.names)

    def _add_letter(self, letter: DeadLetter) -> bool:
        if (letter.index, letter.at) in self._replayed or not self._admitted.settle_dead(letter.index):
            return False
        self._letters.append(letter)
        self._rows += 1
        self._bytes += LETTER_BYTES + len(letter.failure.traceback)
        return True

    def retry_dead(self, indices: Iterable[int]) -> int:
        """Make dead letters on disk missing again, for a replay; returns how many. The letters as they stand in the
        results log are not believed a second time."""
        retried = self.ledger.dead() & BitMap64(indices)
        self._replayed.update(dead_letters.stamps(self.folder, retried))
        self.ledger.retry_dead(retried)
        return self._admitted.retry_dead(retried)

    # -- writing

    def due(self, now: float) -> bool:
        """Whether to write now (``now``: loop time): enough is buffered, or it has waited long enough. How long that is
        grows with the run's age, so that a long, slow run is not a heap of tiny parts."""
        self._began = now if self._began is None else self._began
        if not self._pieces and not self._letters:
            self._buffered_since = None
            return False
        self._buffered_since = now if self._buffered_since is None else self._buffered_since
        longest = max(PART_AGE_SECONDS, PART_AGE_SHARE * (now - self._began))
        return self._bytes >= self._part_bytes() or now - self._buffered_since >= longest

    def _part_bytes(self) -> int:
        """A part is not larger than what is still to come: near the end they shrink, and the last is soon written."""
        to_come = (self._spec.size - self.done_count - self.dead_count) * self._bytes // self._rows
        return min(PART_BYTES, max(SMALL_PART_BYTES, to_come))

    def take(self) -> Batch | None:
        """All that is buffered; ``None`` when that is nothing."""
        if not self._pieces and not self._letters:
            return None
        batch = Batch(self._number, tuple(self._pieces), tuple(self._letters), self._cursor)
        self._number += 1
        self._pieces, self._letters, self._buffered_since = [], [], None
        self._bytes = self._rows = 0
        return batch

    def write(self, batch: Batch) -> Written:
        """Blocking, for a thread: ``batch`` on disk, durable when this returns. ``StorageError``: call again; parts of
        it that were written before are replaced, not doubled."""
        pieces, refused = self._write_rows(batch) if batch.pieces else ((), ())
        letters = (*batch.letters, *refused)
        if letters:
            path = part_path(self.folder.dead, batch.number)
            write_part(path, dead_letters.SCHEMA, [dead_letters.table(letters)], dead_letters.indices(letters))
        ranges = tuple(piece.ranges for piece in pieces)
        return Written(
            ranges,
            tuple(letter.index for letter in letters),
            batch.cursor,
            tuple(letter.index for letter in refused),
        )

    def _write_rows(self, batch: Batch) -> tuple[Sequence[Piece], Sequence[DeadLetter]]:
        names, source = self.parameters
        path = part_path(self.folder.results, batch.number)
        written, refused = write_what_can_be(path, batch.pieces, names, source)
        for _, reason in refused:
            log.warning("a result cannot be stored in the table: %s", reason)
        return written, tuple(letters_of(refused, self._spec, source))

    def commit(self, written: Written) -> None:
        """Loop side: the ledger learns what is on disk."""
        self._admitted.refuse(written.refused)
        for ranges in written.ranges:
            self.ledger.settle_rows(ranges)
        for index in written.dead:
            self.ledger.settle_dead(index)
        self.on_news()

    def finalise(self) -> dict[str, dict[str, Any]]:
        """Blocking, for a thread, after the last commit: one schema over all parts; the statistics of each column are
        returned and recorded in ``run.json``. Safe to repeat, and to interrupt at any moment."""
        parts = unify_parts(self.folder.results, self._spec.names)
        merged = statistics.merge_all(part.statistics for part in parts)
        figures = {name: found.as_json() for name, found in merged.items()}
        for name, told in statistics.of_mixed(parts[0].schema).items() if parts else ():
            figures[name]["mixed"] = told
        self.folder.update(statistics=figures)
        return figures
