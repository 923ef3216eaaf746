"""What a worker tells the world: events, collected and published a few times a second, however much happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttg.clock import unix_time
from ttg.messages import (
    AnyEvent,
    BrokerTrouble,
    Failure,
    Outcome,
    ParametersFailed,
    Task,
    TaskSettled,
    TasksSettled,
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
    """Collects events until :meth:`flush` is asked for them. Bounded: what does not fit any more is only counted."""

    worker: str
    _bars: list[TaskSettled] = field(default_factory=list)
    _causes: dict[Cause, Tally] = field(default_factory=dict)
    _others: list[AnyEvent] = field(default_factory=list)

    def emit(self, kind: Callable[..., AnyEvent], /, **fields: Any) -> None:
        """An event of this worker, now."""
        self.add(self._event(kind, **fields))

    def on_trouble(self, text: str, recovered: bool) -> None:
        """The broker is in trouble, or well again."""
        self.emit(BrokerTrouble, text=text, recovered=recovered)

    def add(self, event: AnyEvent) -> None:
        """An event that is complete."""
        if len(self._others) < MAX_OTHERS:
            self._others.append(event)

    def settled(self, task: Task, outcome: Outcome, failures: Sequence[Failure], deliveries: int) -> None:
        """A task was settled."""
        header = outcome.header
        if len(self._bars) < MAX_BARS:
            self._bars.append(TaskSettled.of(header, deliveries))
        dead = {letter.index for letter in header.dead}
        for failure in failures:
            self._add_failure(task, failure, failure.index in dead)

    def _add_failure(self, task: Task, failure: Failure, dead: bool) -> None:
        cause = (task.run, task.identity, failure.kind, failure.error, failure.place)
        if cause not in self._causes and len(self._causes) >= MAX_CAUSES:
            cause = next((known for known in self._causes if known[:2] == cause[:2]), cause)
        tally = self._causes.setdefault(cause, Tally(failure))
        tally.count += 1
        tally.dead += dead

    def flush(self) -> list[AnyEvent]:
        """The events since the last flush."""
        events, self._others = self._others, []
        if self._bars:
            events.append(self._event(TasksSettled, worker=self.worker, tasks=tuple(self._bars)))
        for (run, identity, *_), tally in self._causes.items():
            counts = {"count": tally.count, "dead": tally.dead, "sample": tally.sample}
            events.append(self._event(ParametersFailed, run=run, identity=identity, worker=self.worker, **counts))
        self._bars, self._causes = [], {}
        return events

    def _event(self, kind: Callable[..., AnyEvent], /, **fields: Any) -> AnyEvent:
        return kind(at=unix_time(), source=self.worker, **fields)
