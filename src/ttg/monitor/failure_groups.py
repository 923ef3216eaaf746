"""What went wrong: failures of parameters by cause, faults of the machinery in words. Pure, bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from ttg.messages import (
    AnyEvent,
    BrokerTrouble,
    ChildDied,
    FaultInjected,
    MessageQuarantined,
    ParametersFailed,
    RunEnded,
    RunStarted,
    RunStatus,
    TasksResubmitted,
    WorkerLost,
    WorkerStopped,
)
from ttg.monitor.view import CauseView, FaultView
from ttg.monitor.words import as_cause, plural

CAUSES_KEPT = 200
COUNTS_KEPT = 2_000
FAULTS_KEPT = 200
ALIKE_WITHIN_SECONDS = 30.0

Cause = tuple[str, str, str, str]


@dataclass(slots=True)
class Causes:
    """Failures grouped by (run, kind, error, place); beyond ``CAUSES_KEPT`` groups only their number is kept.
    ``failures`` counts all of them by run and kind, those of the last ``COUNTS_KEPT`` such pairs."""

    groups: dict[Cause, CauseView] = field(default_factory=dict)
    left_out: int = 0
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)

    def on_failed(self, event: ParametersFailed) -> None:
        """Add failures alike to their group; the newest sample is shown."""
        sample = event.sample
        self._count(event.run, sample.kind, event.count)
        cause = (event.run, sample.kind, sample.error, sample.place)
        known = self.groups.get(cause)
        if known is None and len(self.groups) >= CAUSES_KEPT:
            self.left_out += event.count
            return
        self.groups[cause] = CauseView(
            *cause,
            count=event.count + (known.count if known else 0),
            dead=event.dead + (known.dead if known else 0),
            first=known.first if known else event.at,
            last=event.at,
            index=sample.index,
            message=sample.message,
            traceback=sample.traceback,
            output=sample.output,
        )

    def restore(self, cause: CauseView) -> None:
        """A group that was kept."""
        self.groups[cause.run, cause.kind, cause.error, cause.place] = cause
        self._count(cause.run, cause.kind, cause.count)

    def _count(self, run: str, kind: str, count: int) -> None:
        self.failures[run, kind] += count
        if len(self.failures) > COUNTS_KEPT:
            del self.failures[next(iter(self.failures))]

    def by_kind(self, run: str) -> dict[str, int]:
        """How often parameters of ``run`` failed, by kind, the same ones again counted again."""
        return {kind: count for (of, kind), count in self.failures.items() if of == run}

    def at(self) -> list[CauseView]:
        """Causes, the most frequent first."""
        return sorted(self.groups.values(), key=_rank)

    def commonest(self, run: str) -> str:
        """The commonest cause of what failed in ``run``, with its place, in a few words; nothing if nothing did."""
        of_run = [cause for cause in self.groups.values() if cause.run == run]
        if not of_run:
            return ""
        cause = min(of_run, key=_rank)
        return as_cause(cause.error, cause.message, cause.place)


def _rank(cause: CauseView) -> tuple[int, int, str]:
    return -cause.dead, -cause.count, cause.error


@dataclass(frozen=True, slots=True)
class FaultEntry:
    """One line of the log of faults; ``tasks`` only for lost workers, whose takers report one by one."""

    at: float
    kind: str
    severity: str
    text: str
    worker: str = ""
    lasted_seconds: float = 0.0
    count: int = 1
    tasks: int = 0

    def alike(self, other: FaultEntry) -> bool:
        """Whether ``other`` tells the same again, shortly after."""
        same = (self.kind, self.worker) == (other.kind, other.worker)
        return same and other.at - self.at < ALIKE_WITHIN_SECONDS and (self.tasks > 0 or self.text == other.text)


@dataclass(slots=True)
class Faults:
    """The newest faults, in words, and totals by kind."""

    log: list[FaultEntry] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)

    def on_event(self, event: AnyEvent) -> None:
        """Tell of ``event`` if it is worth telling."""
        fault = describe(event)
        if fault is not None:
            self.add(fault)

    def add(self, fault: FaultEntry) -> None:
        """Tell of ``fault``."""
        self.totals[fault.kind] += 1
        if fault.tasks:
            self.totals["tasks_taken_over"] += fault.tasks
        for position, known in enumerate(self.log):
            if known.alike(fault):
                self.log[position] = _merged(known, fault)
                return
        self._make_room()
        self.log.append(fault)

    def _make_room(self) -> None:
        """Farewells of a thousand workers must not push out the one that was lost."""
        if len(self.log) >= FAULTS_KEPT:
            harmless = (place for place, fault in enumerate(self.log) if fault.severity == "info")
            del self.log[next(harmless, 0)]

    def at(self) -> list[FaultView]:
        """Faults, newest first."""
        return [
            FaultView(fault.at, fault.kind, fault.severity, fault.text, fault.worker, fault.lasted_seconds, fault.count)
            for fault in sorted(self.log, key=lambda fault: -fault.at)
        ]


def _merged(known: FaultEntry, fault: FaultEntry) -> FaultEntry:
    if not known.tasks:
        return replace(known, at=fault.at, count=known.count + 1)
    tasks, after = known.tasks + fault.tasks, max(known.lasted_seconds, fault.lasted_seconds)
    text = _lost_text(known.worker, tasks, after)
    return replace(known, at=max(known.at, fault.at), text=text, tasks=tasks, lasted_seconds=after)


def describe(event: AnyEvent) -> FaultEntry | None:
    """``event`` in a sentence, or ``None`` if it is business as usual."""
    match event:
        case WorkerLost():
            text = _lost_text(event.worker, event.tasks, event.after_seconds)
            return FaultEntry(
                event.at, "worker_lost", "error", text, event.worker, event.after_seconds, tasks=event.tasks
            )
        case WorkerStopped():
            text = f"worker {event.worker} stopped ({event.reason}) after {plural(event.tasks, 'chunk')}"
            severity = "warning" if event.reason == "gave_up" else "info"
            return FaultEntry(event.at, "worker_stopped", severity, text, event.worker)
        case ChildDied():
            text = f"worker {event.worker} slot {event.slot}: {event.text}"
            return FaultEntry(event.at, "child_died", "warning", text, event.worker)
        case TasksResubmitted():
            text = f"{plural(event.parameters, 'parameter')} submitted again: {event.reason}"
            return FaultEntry(event.at, "tasks_resubmitted", "warning", text)
        case BrokerTrouble():
            severity = "info" if event.recovered else "error"
            kind = "broker_recovered" if event.recovered else "broker_trouble"
            return FaultEntry(event.at, kind, severity, f"{event.source}: {event.text}", event.source)
        case MessageQuarantined():
            text = f"a message of {event.queue} was quarantined: {event.reason}"
            return FaultEntry(event.at, "message_quarantined", "warning", text)
        case FaultInjected():
            return FaultEntry(event.at, "fault_injected", "warning", f"on purpose: {event.text}")
        case RunStarted() if event.resumed:
            return FaultEntry(
                event.at, "run_resumed", "info", f"run {event.run} resumed at {event.settled:,} of {event.size:,}"
            )
        case RunEnded() if event.status is not RunStatus.FINISHED:
            severity = "info" if event.status is RunStatus.CANCELLED else "warning"
            text = f"run {event.run} ended: {event.status.words}"
            return FaultEntry(event.at, "run_ended", severity, text)
        case _:
            return None


def _lost_text(worker: str, tasks: int, after_seconds: float) -> str:
    if not tasks:
        return f"worker {worker} lost, nothing to take over"
    return f"worker {worker} lost, {plural(tasks, 'chunk')} taken over after {after_seconds:.1f} s"
