"""What all views show: one tree of plain data, made by :meth:`ttg.monitor.snapshot.Snapshot.at`.

The terminal, the browser, Prometheus and ``--json`` are functions of a :class:`View`, so their figures agree by
construction. Times are Unix seconds, durations and ages seconds, memory bytes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ttg.messages import RunStatus


class ViewPart(msgspec.Struct, frozen=True):
    """Base of everything in a view; subclasses are plain data."""


class QueueView(ViewPart, frozen=True):
    """One queue as the broker's own tools show it, and its depth over time as ``(at, messages)``."""

    name: str
    messages: int
    ready: int | None
    unacknowledged: int | None
    consumers: int | None
    history: list[tuple[float, int]]


class RunView(ViewPart, frozen=True):
    """One run. ``stale``: it should be active, but its coordinator is silent; once its lease has run out, ``status`` is
    ``abandoned``.

    ``done``, ``dead``, ``retrying`` are the ledger's figures: committed, not guessed. ``rate`` is parameters/s (of the
    last seconds while running, on average when ended). ``seconds`` since the coordinator took it up. ``cause`` is the
    commonest one of what failed, in a few words, ``failures`` are failed attempts by kind, ``note`` what it waits for.
    What is left is most likely between ``eta_least_seconds`` and ``eta_most_seconds``. ``counted``: the ledger's
    figures have been heard, and not only that there is such a run. ``paused``: nothing more is begun for now.
    """

    run: str
    function: str
    status: RunStatus
    stale: bool
    silent_seconds: float
    size: int
    done: int
    dead: int
    retrying: int
    submitted: int
    chunks_settled: int
    rate: float
    eta_seconds: float | None
    started: float
    seconds: float
    names: tuple[str, ...] = ()
    cause: str = ""
    eta_least_seconds: float | None = None
    eta_most_seconds: float | None = None
    note: str = ""
    failures: dict[str, int] = {}
    counted: bool = True
    paused: bool = False

    @property
    def words(self) -> str:
        """How it stands, as people read it."""
        return "paused" if self.paused else self.status.words

    @property
    def fraction(self) -> float:
        """Settled part of the run, 0 to 1."""
        return (self.done + self.dead) / self.size if self.size else 1.0


class SlotView(ViewPart, frozen=True):
    """What a slot does now. ``state``: starting, idle, busy, stopping; ``seconds`` how long already."""

    slot: int
    state: str
    seconds: float
    run: str | None
    task: str | None
    done: int
    total: int
    memory_bytes: int


class WorkerView(ViewPart, frozen=True):
    """One worker. ``state``: alive, silent (missed its heartbeats), lost (others took its tasks over), stopped."""

    worker: str
    host: str
    pid: int
    state: str
    heard_seconds: float
    rate: float
    done: int
    failed: int
    tasks: int
    memory_bytes: int
    slots: tuple[SlotView, ...]


class ThroughputView(ViewPart, frozen=True):
    """Parameters settled per second, in buckets of ``bucket_seconds`` from ``began``; the last ends at ``ended``."""

    began: float
    bucket_seconds: float
    rates: list[float]
    ended: float


class CauseView(ViewPart, frozen=True):
    """Failures of one cause: same run, kind, error and place. ``index``, ``message``, ``traceback``,
    ``output`` are a sample."""

    run: str
    kind: str
    error: str
    place: str
    count: int
    dead: int
    first: float
    last: float
    index: int
    message: str
    traceback: str
    output: str = ""


class FaultView(ViewPart, frozen=True):
    """Something that went wrong or was put right, in words. ``severity``: info, warning, error. ``count`` alike."""

    at: float
    kind: str
    severity: str
    text: str
    worker: str
    lasted_seconds: float
    count: int


class View(ViewPart, frozen=True):
    """The whole picture at one moment.

    ``broker`` is its name and version as people say them.
    ``connected``: the broker answered last time; ``stale``: it answered before, or is away, and nothing was heard
    from it for so long that the figures must be shown as old; ``outage`` says why. ``totals`` counts events by kind
    since the monitor started. ``caught_up``: what happened before it started has been read.
    """

    at: float
    backend: str
    broker: str
    connected: bool
    stale: bool
    heard_seconds: float
    outage: str
    queues: list[QueueView]
    runs: list[RunView]
    workers: list[WorkerView]
    workers_by_state: dict[str, int]
    slots_by_state: dict[str, int]
    throughput: ThroughputView
    causes: list[CauseView]
    causes_left_out: int
    faults: list[FaultView]
    totals: dict[str, int]
    caught_up: bool = True


def to_plain(view: ViewPart) -> Any:
    """Dicts, lists, numbers and strings of a view or of a part of it."""
    return msgspec.to_builtins(view)


def to_json(view: ViewPart) -> bytes:
    """JSON of a view or of a part of it."""
    return msgspec.json.encode(view)
