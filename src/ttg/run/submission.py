"""From what the ledger misses to tasks on the queue: how much is out, what waits for a retry, what was lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from ttg.backoff import Backoff
from ttg.brokers.base import Broker
from ttg.clock import loop_time
from ttg.errors import BrokerError
from ttg.messages import Ranges, ResultHeader, Task, encode, split_ranges
from ttg.planner import Planner
from ttg.results.collector import Collector
from ttg.run.progress import RetryCount
from ttg.run.window import Window
from ttg.space import Space
from ttg.spec import RunSpec

MOST_PATIENCE = 12

log = logging.getLogger("ttg.run")

TASK_BYTES = 4 << 20
"""Of a task that carries rows: brokers take 16 MiB by default."""


class Submission:
    """The submitting side of one run. ``slots`` says how many slots there are to feed now."""

    def __init__(
        self,
        spec: RunSpec,
        space: Space,
        collector: Collector,
        broker: Broker,
        backoff: Backoff,
        slots: Callable[[], int],
        chunk_size: int | None,
    ) -> None:
        self.window = Window(Planner(spec.size, chunk_size), collector.missing)
        self.retries = RetryCount()
        self._spec = spec
        self._space = space
        self._collector = collector
        self._broker = broker
        self._backoff = backoff
        self._slots = slots
        self._epoch = 1
        self._wake = asyncio.Event()
        self._heard_at = loop_time()
        self._quiet_since = self._heard_at
        self._empty_at: float | None = None
        self._patience = 1

    def begin(self, epoch: int) -> None:
        """Tasks are those of this epoch from now on."""
        self._epoch = epoch
        self.window.prefix = f"{epoch}-" if epoch > 1 else ""

    def wake(self) -> None:
        """There may be room."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the window full, for ever."""
        while True:
            self._wake.clear()
            chunks = self.window.cut(self._slots(), self._unassigned())
            if chunks:
                tasks = [task for name, ranges in chunks for task in self._tasks(name, ranges)]
                await self._backoff.call(partial(self._broker.submit, tasks))
            else:
                await self._wake.wait()

    def saw(self, header: ResultHeader) -> None:
        """A piece was settled."""
        self.window.saw(header)
        if header.epoch == self._epoch:  # retries of an earlier epoch are dropped: what they hold was submitted again
            self.retries.saw(header.attempt, header.count + len(header.dead), header.failed)
        self._heard_at, self._patience = loop_time(), 1
        self.wake()

    async def find_lost(self, silent_seconds: float, up_to_date_at: float, *, in_trouble: bool) -> bool:
        """Whether the broker has lost what is out: nothing came for so long, its queues are empty, and the results log,
        read to its end since (``up_to_date_at``), has nothing either. The caller knows that nobody holds a task.

        While somebody is ``in_trouble`` with the broker, tasks may be with a node that is away, and counts are none; so
        the silence counts from the end of the trouble, if that does not take too long."""
        now = loop_time()
        if in_trouble and now - self._heard_at < MOST_PATIENCE * silent_seconds:
            self._quiet_since = now
        if now - max(self._heard_at, self._quiet_since) < self._patience * silent_seconds:
            self._empty_at = None
        elif self._empty_at is None:
            self._empty_at = now if await self._queues_are_empty() else None
        return self._empty_at is not None and up_to_date_at > self._empty_at

    async def _queues_are_empty(self) -> bool:
        try:
            stats = await self._broker.stats()
        except BrokerError:
            return False
        return not any(stats.queue(name).messages for name in ("tasks", "tasks.retry"))

    def start_over(self) -> int:
        """Submit again what is missing, from the beginning; returns how many parameters that is. Where that brings
        nothing either, because results do not arrive, say, it is done less and less often."""
        self.window.start_over()
        self.retries.waiting = 0
        self._heard_at = loop_time()
        self._patience = min(2 * self._patience, MOST_PATIENCE)
        self.wake()
        return self._missing

    @property
    def _missing(self) -> int:
        return self._spec.size - self._collector.done_count - self._collector.dead_count

    def _unassigned(self) -> int:
        return self._missing - self.window.in_flight - self.retries.waiting

    def _tasks(self, name: str, ranges: Ranges) -> list[Task]:
        """One task, or several where its rows are too much for a message; to the window they are pieces of one."""
        task = self._task(name, ranges)
        if task.rows is None or task.count == 1 or len(encode(task)) <= TASK_BYTES:
            return [task]
        head, tail = split_ranges(ranges, task.count // 2)
        return [*self._tasks(f"{name}.a", head), *self._tasks(f"{name}.b", tail)]

    def _task(self, name: str, ranges: Ranges) -> Task:
        rows = None
        if not self._space.computable:
            rows = tuple(row for start, stop in ranges for row in self._space.encoded_rows(start, stop))
        spec = self._spec
        return Task(run=spec.run, id=name, ranges=ranges, rows=rows, identity=spec.identity, epoch=self._epoch)
