"""What a demonstration observes while it runs, and the record it leaves: nothing is assumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttg.brokers.base import Broker, BrokerStats
from ttg.clock import unix_time
from ttg.errors import BrokerError
from ttg.messages import AnyEvent, TaskSettled, TasksSettled, WorkerLost

SAMPLE_SECONDS = 0.25
TAKEOVERS = ("worker", "freeze", "network")
"""Faults after which other workers have to take over."""


@dataclass(frozen=True, slots=True)
class TaskBar:
    """One settled task on the timeline of a worker; ``taken_over`` from another one. Times since the run began."""

    worker: str
    slot: int
    started: float
    seconds: float
    done: int
    failed: int
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at run and queues. ``at`` in seconds since the run began."""

    at: float
    settled: int
    tasks: int
    retry: int
    letters: int
    results: int
    workers: int


@dataclass(frozen=True, slots=True)
class DataCheck:
    """The oracle: every index once, every value right. ``verified`` rows were recomputed (``None``: all)."""

    size: int
    present: int
    dead: int
    duplicates: int
    missing: int
    wrong: int
    verified: int | None = None

    @property
    def passed(self) -> bool:
        """Nothing lost, nothing twice, nothing wrong."""
        return not (self.duplicates or self.missing or self.wrong) and self.present + self.dead == self.size

    def __str__(self) -> str:
        parts = [f"{self.present:,} of {self.size:,} present once", self._values()]
        for count, word in ((self.dead, "dead letters"), (self.missing, "MISSING"), (self.duplicates, "TWICE")):
            if count:
                parts.append(f"{count:,} {word}")
        return ", ".join(parts)

    def _values(self) -> str:
        if self.wrong:
            return f"{self.wrong:,} values WRONG"
        return "values verified" if self.verified in (None, self.present) else f"{self.verified:,} values verified"


@dataclass(slots=True)
class Observation:
    """Everything a report needs, gathered by :class:`DemoObserver`. ``victim`` is the worker that was hit; recovery is
    the first work after the fault that proves it: a task taken over from the victim, the victim's next task after its
    child was killed, the first result after the broker was."""

    samples: list[Sample] = field(default_factory=list)
    bars: list[TaskBar] = field(default_factory=list)
    fault: str | None = None
    victim: str = ""
    fault_at: float | None = None
    fault_share: float | None = None
    fault_text: str = ""
    recovery_seconds: float | None = None
    began: float = 0.0

    @property
    def retry_peak(self) -> int:
        """Most parameters' tasks seen in the retry queue at once."""
        return max((sample.retry for sample in self.samples), default=0)

    @property
    def letters(self) -> int:
        """Dead letters in the broker at the end."""
        return self.samples[-1].letters if self.samples else 0

    @property
    def results(self) -> int:
        """Messages in the results log at the end."""
        return self.samples[-1].results if self.samples else 0


class DemoObserver:
    """Watches one run through the broker's own figures and the events log, as any monitor would.

    ``progress`` gives the parameters settled and the workers alive now; ``on_recovery`` hears of it, once.
    """

    def __init__(
        self,
        broker: Broker,
        run: str,
        progress: Callable[[], tuple[int, int]],
        on_recovery: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.broker = broker
        self.run = run
        self.seen = Observation(began=unix_time())
        self._progress = progress
        self._on_recovery = on_recovery
        self._after: str | None = None
        self._settled_at_fault = 0

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def look(self) -> BrokerStats | None:
        """One sample, now; ``None`` when the broker does not answer."""
        try:
            stats = await self.broker.stats()
            events = await self.broker.read_events(self._after, 1000, 0.0)
        except BrokerError:
            return None
        for self._after, event in events:
            if event.at >= self.seen.began - 1.0:
                self._on_event(event)
        self._sample(stats)
        return stats

    def _sample(self, stats: BrokerStats) -> None:
        settled, workers = self._progress()
        tasks, retry, letters, results = (
            stats.queue(name).messages for name in ("tasks", "tasks.retry", "tasks.dlq", "results")
        )
        self.seen.samples.append(Sample(self._now(), settled, tasks, retry, letters, results, workers))
        if self.seen.fault == "broker" and settled > self._settled_at_fault:
            self._recovered(self._now())

    def fault_injected(self, fault: str, victim: str, share: float, text: str) -> None:
        """Remember what was broken, and when."""
        self._settled_at_fault = self._progress()[0]
        seen = self.seen
        seen.fault, seen.victim, seen.fault_share, seen.fault_text = fault, victim, share, text
        seen.fault_at = self._now()

    def _now(self) -> float:
        return unix_time() - self.seen.began

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, TasksSettled):
            for task in event.tasks:
                if task.run == self.run:
                    self._on_settled(self._bar(event.worker, task))
        elif isinstance(event, WorkerLost) and self.seen.fault in TAKEOVERS:
            self._recovered(event.at - self.seen.began)

    def _on_settled(self, bar: TaskBar) -> None:
        seen = self.seen
        seen.bars.append(bar)
        if seen.fault_at is None or bar.started < seen.fault_at:
            return
        if (seen.fault in TAKEOVERS and bar.taken_over) or (seen.fault == "child" and bar.worker == seen.victim):
            self._recovered(bar.started)

    def _recovered(self, at: float) -> None:
        if self.seen.fault_at is None or self.seen.recovery_seconds is not None:
            return
        self.seen.recovery_seconds = max(0.0, at - self.seen.fault_at)
        self._on_recovery(self.seen.recovery_seconds)

    def _bar(self, worker: str, task: TaskSettled) -> TaskBar:
        started = task.started - self.seen.began
        return TaskBar(worker, task.slot, started, task.seconds, task.done, task.failed, task.deliveries > 1)


def check_rows(
    size: int, rows: Iterable[tuple[int, Any]], dead: Iterable[int], expected: Callable[[int], Any]
) -> DataCheck:
    """Compare each ``(index, value)`` with ``expected(index)``; memory is one byte per parameter."""
    seen = bytearray(size)
    present = duplicates = wrong = 0
    for index, value in rows:
        duplicates += seen[index]
        seen[index] = 1
        present += 1
        wrong += value != expected(index)
    letters = 0
    for index in dead:
        duplicates += seen[index]
        seen[index] = 1
        letters += 1
    return DataCheck(size, present, letters, duplicates, seen.count(0), wrong)


def check_folder(folder: Path, size: int, expected: Callable[[int], Any]) -> DataCheck:
    """The oracle over a run's folder, read back from disk as any user would."""
    from ttg.results import reading
    from ttg.results.folder import RunFolder

    run = RunFolder.open(folder)
    _, tables = reading.read(run, columns=["index", "result"])
    rows = (
        pair for table in tables for pair in zip(table["index"].to_pylist(), table["result"].to_pylist(), strict=True)
    )
    dead = (letter["index"] for letter in reading.dead_letters(run))
    return check_rows(size, rows, dead, expected)
