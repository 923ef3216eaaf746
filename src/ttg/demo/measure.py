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


@dataclass(frozen=True, slots=True)
class Bar:
    """One settled task on the timeline of a worker."""

    worker: str
    slot: int
    started: float
    seconds: float
    done: int
    failed: int


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
    """The oracle: every index once, every value right."""

    size: int
    present: int
    dead: int
    duplicates: int
    missing: int
    wrong: int

    @property
    def passed(self) -> bool:
        """Nothing lost, nothing twice, nothing wrong."""
        return not (self.duplicates or self.missing or self.wrong) and self.present + self.dead == self.size

    def __str__(self) -> str:
        verdict = "values verified" if not self.wrong else f"{self.wrong} values WRONG"
        text = f"{self.present} of {self.size} present once, {verdict}"
        return (
            text
            + (f"; {self.missing} MISSING" if self.missing else "")
            + (f"; {self.duplicates} TWICE" if self.duplicates else "")
        )


@dataclass(slots=True)
class Observation:
    """Everything a report needs, gathered by :class:`Observer`."""

    samples: list[Sample] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    fault_at: float | None = None
    fault_share: float | None = None
    fault_text: str = ""
    takeover_seconds: float | None = None
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


class Observer:
    """Watches one run through the broker's own figures and the events log, as any monitor would."""

    def __init__(self, broker: Broker, settled: Callable[[], tuple[int, int]]) -> None:
        self.broker = broker
        self.seen = Observation(began=unix_time())
        self._settled = settled
        self._after: str | None = "$"

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def look(self) -> BrokerStats | None:
        """One sample, now."""
        try:
            stats = await self.broker.stats()
            events = await self.broker.read_events(self._after, 1000, 0.0)
        except BrokerError:
            return None
        for self._after, event in events:
            self._on_event(event)
        settled, workers = self._settled()
        tasks, retry, letters, results = (
            stats.queue(name).messages for name in ("tasks", "tasks.retry", "tasks.dlq", "results")
        )
        at = unix_time() - self.seen.began
        self.seen.samples.append(Sample(at, settled, tasks, retry, letters, results, workers))
        return stats

    def fault_injected(self, share: float, text: str) -> None:
        """Remember what was broken, and when."""
        self.seen.fault_at = unix_time() - self.seen.began
        self.seen.fault_share = share
        self.seen.fault_text = text

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, TasksSettled):
            self.seen.bars.extend(self._bar(event.worker, task) for task in event.tasks)
        if isinstance(event, WorkerLost) and self.seen.fault_at is not None and self.seen.takeover_seconds is None:
            self.seen.takeover_seconds = max(0.0, event.at - self.seen.began - self.seen.fault_at)

    def _bar(self, worker: str, task: TaskSettled) -> Bar:
        return Bar(worker, task.slot, task.started - self.seen.began, task.seconds, task.done, task.failed)


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
