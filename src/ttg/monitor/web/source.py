"""What the dashboard asks of whoever can read the folders of runs. The monitor does not: a source is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol

import msgspec

from ttg.monitor.history import RunHistory
from ttg.monitor.view import RunView, ViewPart


class Column(ViewPart, frozen=True):
    """A column of a run's table. ``role``: ``parameter``, ``result`` or ``about`` (index, seconds, attempt, worker);
    ``kind``: ``number`` and ``text`` can be axes, ``curve`` is a list of numbers, and nothing else is drawn."""

    name: str
    role: str
    kind: str = ""


class Page(ViewPart, frozen=True):
    """Some rows of a run's table, values as JSON knows them, in the order of ``columns``."""

    columns: list[Column]
    rows: list[list[Any]]
    total: int


class RunOnDisk(ViewPart, frozen=True):
    """A run as its folder tells. ``facts`` are its settings, as ``(name, value)`` for people; ``pace`` is what it
    settled over its time, in equal steps, in percent of the most."""

    view: RunView
    identity: str
    folder: str
    facts: list[tuple[str, str]]
    pace: Sequence[int] = ()


class FailedParameter(ViewPart, frozen=True):
    """A parameter that was given up: its values as JSON text, its attempts, and the last line it printed."""

    index: int
    parameters: str
    attempts: int
    worker: str
    said: str


class FailureView(ViewPart, frozen=True):
    """What failed for one cause. ``dead`` parameters are given up now, ``mended`` ones have a result since they were;
    ``attempts`` failed in all, also of parameters that were never given up. ``rows`` are the first of the dead.
    ``state``: ``given up``, ``retrying``, ``mended`` (all have results now) or ``open`` (the run has not ended)."""

    kind: str
    error: str
    place: str
    dead: int
    mended: int
    attempts: int
    first: float
    last: float
    index: int
    message: str
    traceback: str
    output: str = ""
    rows: Sequence[FailedParameter] = ()
    state: str = "given up"


class LogTail(ViewPart, frozen=True):
    """The last lines of the log of one worker."""

    worker: str
    text: str


class Retrial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is tried again: the parameter ``index``, else all of one cause (``error`` at ``place``), else all that are
    given up."""

    index: int | None = None
    error: str = ""
    place: str = ""


class RunsSource(Protocol):
    """Reads and mends runs for the dashboard. Called on threads; raises ``TTGError`` with a line for people."""

    def runs(self) -> list[RunOnDisk]:
        """All that are known on this machine, the newest first."""

    def run(self, run: str) -> RunOnDisk | None:
        """One of them, if it is here."""

    def history(self, run: str) -> RunHistory | None:
        """What happened in it, if that was kept."""

    def failures(self, run: str) -> list[FailureView]:
        """What its ledger says of parameters that were given up."""

    def columns(self, run: str) -> list[Column]:
        """The columns of the run's table; empty while there is none."""

    def page(self, run: str, *, offset: int, limit: int, sort: str, descending: bool) -> Page:
        """Rows ``offset`` to ``offset + limit`` in the order of column ``sort``."""

    def sample(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        """Columns ``names`` of all rows, or of ``limit`` rows drawn at random (always the same) if there are more."""

    def space(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        """Parameters ``names`` of the whole space, or of ``limit`` indices spread over it."""

    def dead(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        """Parameters ``names`` of those that are given up, or of ``limit`` of them."""

    def export(self, run: str, format: str, file: BinaryIO) -> None:
        """Write the table to ``file``."""

    def logs(self, run: str) -> list[LogTail]:
        """What its workers on this machine said last."""

    def control(self, verb: str, run: str, worker: str = "") -> str:
        """``cancel``, ``pause`` or ``unpause`` it, or ``drain`` a worker of it, as that command does; what it says."""

    def retry(self, run: str, which: Retrial) -> int:
        """Submit dead letters again; returns how many parameters."""
