"""The collector: from result messages to durable parts of the dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from pyroaring import BitMap64

from ttg.brokers.base import ResultMessage
from ttg.messages import DeadLetter, Ranges
from ttg.results.folder import RunFolder
from ttg.results.ledger import Ledger
from ttg.spec import RunSpec


class ParameterSource(Protocol):
    """What the collector needs of a space."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def computable(self) -> bool: ...

    def arrays(self, indices: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Added:
    """What one message brought: new rows, new dead letters, and indices that were known already."""

    rows: int
    dead: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What :meth:`Collector.write` puts into parts. ``cursor`` is that of the newest message in it."""

    pieces: tuple[Any, ...]
    letters: tuple[DeadLetter, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Written:
    """Parts that are on disk. ``cursor``: the results log is collected up to here once this is committed."""

    done: BitMap64
    dead: BitMap64
    cursor: str
    parts: tuple[Any, ...] = field(default=())


class Collector:
    """One per run, on the event loop's side; only :meth:`write` and :meth:`finalise` block and belong in a thread.

    ``ledger`` is what is on disk: it changes in :meth:`commit` only. Order of use, by one task:
    ``add* → due → take → write (thread) → commit``. At most one batch is out at a time; when its ``write`` fails
    (``StorageError``), write the same batch again later.
    """

    def __init__(self, folder: RunFolder, spec: RunSpec, space: ParameterSource, ledger: Ledger) -> None: ...

    def add(self, message: ResultMessage) -> Added:
        """Buffer what is new in ``message``. ``MessageError`` (nothing changed) when it does not fit this run."""
        raise NotImplementedError

    def revive(self, indices: Iterable[int]) -> int:
        """Make dead indices missing again, here and in the ledger, for a replay."""
        raise NotImplementedError

    @property
    def buffered_bytes(self) -> int:
        raise NotImplementedError

    @property
    def buffered_rows(self) -> int:
        raise NotImplementedError

    @property
    def done_count(self) -> int:
        """Rows on disk or buffered (dead likewise: ``dead_count``); ``ledger`` has the durable figures."""
        raise NotImplementedError

    def missing(self, start: int = 0, limit: int | None = None) -> Ranges:
        """As :meth:`Ledger.missing`, with buffered rows counted as settled."""
        raise NotImplementedError

    @property
    def complete(self) -> bool:
        """Every index is on disk or buffered: take, write and commit what is left, then finalise."""
        raise NotImplementedError

    def due(self, now: float) -> bool:
        """Whether to write now; ``now`` is loop time."""
        raise NotImplementedError

    def take(self) -> Batch | None:
        """What is buffered, all of it; ``None`` when that is nothing."""
        raise NotImplementedError

    def write(self, batch: Batch) -> Written:
        """Blocking, for a thread: parts on disk, durable when this returns. ``StorageError``: call again."""
        raise NotImplementedError

    def commit(self, written: Written) -> None:
        """Loop side: the ledger learns what is on disk."""
        raise NotImplementedError

    def finalise(self) -> dict[str, dict[str, Any]]:
        """Blocking, for a thread, after the last commit: one schema over all parts, column statistics in run.json."""
        raise NotImplementedError
