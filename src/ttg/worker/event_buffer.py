"""What a worker tells the world: events, collected and published a few times a second, however much happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ttg.clock import unix_time
from ttg.messages import (
    AnyEvent,
    BrokerTrouble,
    ChildDied,
    Failure,
    FunctionRefused,
    MessageQuarantined,
    Outcome,
    ParametersFailed,
    Task,
    TaskSettled,
    TasksSettled,
    WorkerStopped,
)

MAX_BARS = 200
MAX_CAUSES = 20
MAX_OTHERS = 100

Cause = tuple[str, str, str, str, str]


@dataclass
class Tally:
    """Failures alike: how many, how many of them final, and one as a sample."""

    sample: Failure
    count: int = 0
    dead: int = 0


@dataclass
class EventBuffer:
    """Collects events until :meth:`issue` is asked for them. Bounded: what does not fit any more is only counted."""

    worker: str
    _bars: list[TaskSettled] = field(default_factory=list)
    _causes: dict[Cause, Tally] = field(default_factory=dict)
    _others: list[AnyEvent] = field(default_factory=list)

    def note(self, event: AnyEvent) -> None:
        """Any other event."""
        if len(self._others) < MAX_OTHERS:
            self._others.append(event)

    def note_trouble(self, text: str, recovered: bool) -> None:
        """The broker is in trouble, or well again."""
        self.note(BrokerTrouble(at=unix_time(), source=self.worker, text=text, recovered=recovered))

    def note_quarantined(self, reason: str) -> None:
        """A task was quarantined."""
        self.note(MessageQuarantined(at=unix_time(), source=self.worker, queue="tasks", reason=reason))

    def note_refused(self, run: str, identity: str, text: str, lasting: bool) -> None:
        """This worker does not run this run's function."""
        at, worker = unix_time(), self.worker
        self.note(
            FunctionRefused(at=at, source=worker, run=run, identity=identity, worker=worker, text=text, lasting=lasting)
        )

    def note_child_died(self, slot: int, kind: str, text: str, task: Task | None, suspects: int) -> None:
        """A child died unasked, in the middle of ``task``."""
        at, worker = unix_time(), self.worker
        run, identity, name = (task.run, task.identity, task.id) if task else ("", "", "")
        self.note(
            ChildDied(
                at=at,
                source=worker,
                worker=worker,
                slot=slot,
                kind=kind,
                text=text,
                run=run,
                identity=identity,
                task=name,
                suspects=suspects,
            )
        )

    def note_stopped(self, reason: str, tasks: int, done: int) -> None:
        """The worker says goodbye."""
        at, worker = unix_time(), self.worker
        self.note(WorkerStopped(at=at, source=worker, worker=worker, reason=reason, tasks=tasks, done=done))

    def note_settled(self, task: Task, outcome: Outcome, failures: Sequence[Failure], deliveries: int) -> None:
        """A task was settled."""
        header = outcome.header
        if len(self._bars) < MAX_BARS:
            self._bars.append(_bar(task, outcome, deliveries))
        dead = {letter.index for letter in header.dead}
        for failure in failures:
            self._note_failure(task, failure, failure.index in dead)

    def _note_failure(self, task: Task, failure: Failure, dead: bool) -> None:
        cause = (task.run, task.identity, failure.kind, failure.error, failure.place)
        if cause not in self._causes and len(self._causes) >= MAX_CAUSES:
            cause = next(iter(self._causes))
        tally = self._causes.setdefault(cause, Tally(failure))
        tally.count += 1
        tally.dead += dead

    def issue(self) -> list[AnyEvent]:
        """The events since the last issue."""
        at, worker = unix_time(), self.worker
        events, self._others = self._others, []
        if self._bars:
            events.append(TasksSettled(at=at, source=worker, worker=worker, tasks=tuple(self._bars)))
        for (run, identity, *_), tally in self._causes.items():
            events.append(
                ParametersFailed(
                    at=at,
                    source=worker,
                    run=run,
                    identity=identity,
                    worker=worker,
                    count=tally.count,
                    dead=tally.dead,
                    sample=tally.sample,
                )
            )
        self._bars, self._causes = [], {}
        return events


def _bar(task: Task, outcome: Outcome, deliveries: int) -> TaskSettled:
    header = outcome.header
    return TaskSettled(
        run=task.run,
        task=task.id,
        slot=header.slot,
        started=header.started,
        seconds=header.seconds,
        done=header.count,
        failed=header.failed,
        dead=len(header.dead),
        attempt=task.attempt,
        deliveries=deliveries,
        identity=task.identity,
    )
