"""What happened in one run: its timeline, throughput, failures and faults, and how they are kept when it is over.

The coordinator folds the headers of the results that it collects, so nothing of its run is missed; a monitor folds
events. Pure, and bounded: see :data:`LARGEST_BYTES`.
"""

from __future__ import annotations

import gzip
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from ttg.errors import MessageError
from ttg.messages import AnyEvent, ParametersFailed, ResultHeader, TaskSettled, TasksTakenOver
from ttg.messages.events import RunEvent
from ttg.monitor.failure_groups import Causes, FaultEntry, Faults
from ttg.monitor.series import Strips
from ttg.monitor.timeline import SavedTimeline, Timeline
from ttg.monitor.view import CauseView, ThroughputView, ViewPart

VERSION = 1
LARGEST_BYTES = 4 << 20
"""Of what is kept, before it is compressed."""

CAUSES_SAVED = 50
TEXT_SAVED = 4_000
PACE_STEPS = 40
TAKEN_OVER_KEPT = 10_000
LONGEST_PAUSE_SECONDS = 600.0


class SavedHistory(ViewPart, frozen=True):
    """A :class:`RunHistory` as it is kept."""

    version: int
    run: str
    chunks: int
    timeline: SavedTimeline
    settled_began: float | None
    settled_ended: float
    settled_bucket_seconds: float
    settled: list[float]
    causes: list[CauseView]
    faults: list[FaultEntry]
    totals: dict[str, int]


def _strip() -> Strips[str]:
    return Strips(layers=1, columns=300, bucket_seconds=1.0)


@dataclass(slots=True)
class RunHistory:
    """The history of ``run``. ``chunks`` counts the tasks that were settled."""

    run: str
    chunks: int = 0
    timeline: Timeline = field(default_factory=Timeline)
    settled: Strips[str] = field(default_factory=_strip)
    causes: Causes = field(default_factory=Causes)
    faults: Faults = field(default_factory=Faults)
    _taken_over: set[str] = field(default_factory=set)

    def on_header(self, header: ResultHeader) -> None:
        """A task was settled, as the results log has it."""
        taken_over = f"{header.run}/{header.task}" in self._taken_over
        told = TaskSettled.of(header, deliveries=1 + taken_over)
        self.on_settled(sys.intern(header.worker), (told,))

    def on_settled(self, worker: str, tasks: Iterable[TaskSettled]) -> None:
        """Tasks of this run were settled."""
        for task in tasks:
            self.chunks += 1
            self.timeline.on_settled(worker, (task,))
            amount = float(task.done + task.dead)
            self.settled.add(self.run, task.started, task.started + task.seconds, (amount,))

    def on_event(self, event: AnyEvent) -> None:
        """Something else happened while the run went on; what is of other runs is passed over."""
        if isinstance(event, RunEvent) and event.run != self.run:
            return
        if isinstance(event, ParametersFailed):
            self.causes.on_failed(event)
        elif isinstance(event, TasksTakenOver) and len(self._taken_over) < TAKEN_OVER_KEPT:
            self._taken_over.update(event.tasks)
        self.faults.on_event(event)

    def go_on(self, now: float) -> None:
        """Somebody takes the run up. After a long pause the pictures begin anew: they would show little else."""
        began, ended = self.timeline.grid.began, self.timeline.grid.ended
        if began is None or now - ended > max(LONGEST_PAUSE_SECONDS, ended - began):
            self.timeline.restart(now)
            self.settled.restart(now)

    def throughput(self, now: float, known_until: float = math.inf) -> ThroughputView:
        """Parameters of this run settled per second, spread over the time that their chunks took; only the steps that
        end by ``known_until``, for chunks that are under way will still add to later ones."""
        strip = self.settled
        if strip.began is None or self.run not in strip.rows:
            return ThroughputView(now, strip.bucket_seconds, [], now)
        began, step, rates = strip.began, strip.bucket_seconds, strip.rates(strip.rows[self.run][0])
        if known_until >= strip.ended:
            return ThroughputView(began, step, rates, strip.ended)
        rates = rates[: max(0, int((known_until - began) / step))]
        return ThroughputView(began, step, rates, began + len(rates) * step)

    def pace(self) -> list[int]:
        """What was settled over its time, in at most :data:`PACE_STEPS` equal steps, in percent of the most."""
        rates = np.asarray(self.throughput(0.0).rates)
        if not rates.size or rates.max() <= 0:
            return []
        steps = np.array_split(rates, min(PACE_STEPS, rates.size))
        means = np.array([step.mean() for step in steps])
        return [round(100 * float(mean)) for mean in means / means.max()]

    # -- kept

    def encoded(self) -> bytes:
        """Compressed JSON, for a file beside the run's table."""
        strip = self.settled
        row = strip.rows[self.run][0][: strip.used].tolist() if self.run in strip.rows else []
        saved = SavedHistory(
            version=VERSION,
            run=self.run,
            chunks=self.chunks,
            timeline=self.timeline.saved(),
            settled_began=strip.began,
            settled_ended=strip.ended,
            settled_bucket_seconds=strip.bucket_seconds,
            settled=[round(amount, 2) for amount in row],
            causes=[_shortened(cause) for cause in self.causes.at()[:CAUSES_SAVED]],
            faults=self.faults.log,
            totals=dict(self.faults.totals),
        )
        return gzip.compress(msgspec.json.encode(saved), 1)

    @classmethod
    def decoded(cls, data: bytes) -> RunHistory:
        """What :meth:`encoded` gave; ``MessageError`` for anything else."""
        try:
            saved = msgspec.json.decode(gzip.decompress(data), type=SavedHistory)
            if saved.version != VERSION:
                raise ValueError(f"of version {saved.version}")
        except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:
            raise MessageError(f"expected the history of a run, got something else: {error}") from error
        history = cls(saved.run, saved.chunks, Timeline.restored(saved.timeline, saved.run))
        history.settled.restart(saved.settled_began)
        history.settled.restore(saved.settled_ended, saved.settled_bucket_seconds, {saved.run: [saved.settled]})
        for cause in saved.causes:
            history.causes.restore(cause)
        history.faults.log.extend(saved.faults)
        history.faults.totals.update(saved.totals)
        return history


def _shortened(cause: CauseView) -> CauseView:
    texts = {name: getattr(cause, name)[-TEXT_SAVED:] for name in ("message", "traceback", "output")}
    return msgspec.structs.replace(cause, **texts)
