"""From what the ledger misses to tasks on the queue: how much is out, what waits for a retry, what was lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import chain

import msgspec

from ttg.backoff import Backoff
from ttg.brokers.base import Broker
from ttg.clock import loop_time
from ttg.errors import BrokerError
from ttg.messages import Ranges, ResultHeader, RunRecord, Task, count_indices, split_ranges
from ttg.messages.rows import NO_ROWS, packed, size_of
from ttg.planner import Planner
from ttg.run.ends import Sink, Source
from ttg.run.fleet import Fleet
from ttg.run.pace import Retries
from ttg.run.window import Window
from ttg.spec import RunSpec

MOST_PATIENCE = 12

log = logging.getLogger("ttg.run")

TASK_BYTES = 1 << 20
"""Of the rows that a task carries, unless it is a single one: brokers take 16 MiB by default, but what a message takes
is sent, stored and decoded in one go."""

FIRST_ROWS = 16
MOST_TASKS = 128


class Submission:
    """The submitting side of one run. ``slots`` says how many slots there are to feed now."""

    def __init__(
        self,
        spec: RunSpec,
        source: Source,
        sink: Sink,
        broker: Broker,
        backoff: Backoff,
        slots: Callable[[], int],
        planner: Planner,
    ) -> None:
        self.window = Window(planner, sink.missing)
        self.retries = Retries(spec.retry.delay_ms / 1000, spec.retry.max_retries + 1)
        self.paused = False
        self._pauses = 0
        self._spec = spec
        self._source = source
        self._sink = sink
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

    def pause(self, record: RunRecord) -> None:
        """Submit nothing more while the run is paused. What workers found waiting meanwhile they have dropped, so what
        is missing after a pause is submitted again; what is still executed then is counted once."""
        self.paused = record.paused
        if not record.paused and record.pauses != self._pauses:
            self._pauses = record.pauses
            self.start_over()

    def note(self, fleet: Fleet) -> str:
        """What is to be said of a pause: the tasks that workers have, and the parameters that wait for a retry."""
        if not self.paused:
            return ""
        under_way = fleet.tasks_held(self._spec.identity) + self.retries.waiting
        return f"{under_way:,} under way: `ttg unpause {self._spec.run}` goes on"

    def wake(self) -> None:
        """There may be room."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the window full, for ever."""
        while True:
            self._wake.clear()
            chunks = [] if self.paused else self.window.cut(self._slots(), self._unassigned())
            if not chunks:
                await self._wake.wait()
            elif self._source.computable:
                await self._submit([self._task(name, ranges) for name, ranges in chunks])
            else:
                await self._submit_with_rows(chunks)

    def saw(self, header: ResultHeader) -> None:
        """A piece was settled."""
        self.window.saw(header)
        if header.epoch == self._epoch:  # retries of an earlier epoch are dropped: what they hold was submitted again
            self.retries.saw(header.attempt, header.count + len(header.dead), header.failed, loop_time())
        self._heard_at, self._patience = loop_time(), 1
        self.wake()

    def submit_again(self, unread: list[Ranges]) -> None:
        """Those were settled for nothing; ``unread`` is empty then."""
        self.window.again += unread
        if unread:
            unread.clear()
            self.wake()

    async def find_lost(self, silent_seconds: float, up_to_date_at: float, *, in_trouble: bool) -> bool:
        """Whether the broker has lost what is out: nothing came for so long, its queues are empty, and the results log,
        read to its end since (``up_to_date_at``), has nothing either. The caller knows that nobody holds a task.

        While somebody is ``in_trouble`` with the broker, tasks may be with a node that is away, and counts are none; so
        the silence counts from the end of the trouble, if that does not take too long."""
        if self.paused or not self._missing:
            return False
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
            stats = await self._broker.stats(logs=False)
        except BrokerError:
            return False
        return not any(stats.queue(name).messages for name in ("tasks", "tasks.retry"))

    def start_over(self) -> int:
        """Submit again what is missing, from the beginning; returns how many parameters that is. Where that brings
        nothing either, because results do not arrive, say, it is done less and less often."""
        self.window.start_over()
        self.retries.start_over()
        self._heard_at = loop_time()
        self._patience = min(2 * self._patience, MOST_PATIENCE)
        self.wake()
        return self._missing

    @property
    def _missing(self) -> int:
        return self._sink.size - self._sink.done_count - self._sink.dead_count

    def _unassigned(self) -> int:
        return self._missing - self.window.in_flight - self.retries.waiting

    async def _submit(self, tasks: list[Task]) -> None:
        await self._backoff.call(partial(self._broker.submit, tasks))

    async def _submit_with_rows(self, chunks: list[tuple[str, Ranges]]) -> None:
        """A few at a time, so that what is made of them and not sent yet is bounded in bytes."""
        tasks: list[Task] = []
        for name, ranges in chunks:
            async for task in self._tasks_with_rows(name, ranges):
                tasks.append(task)
                if sum(size_of(waiting.rows) for waiting in tasks) >= TASK_BYTES or len(tasks) == MOST_TASKS:
                    await self._submit(tasks)
                    tasks = []
        if tasks:
            await self._submit(tasks)

    async def _tasks_with_rows(self, name: str, ranges: Ranges) -> AsyncIterator[Task]:
        """One, or several where its rows are too much for a message; to the window they are pieces of one. Rows are cut
        and encoded in a thread."""
        count = count_indices(ranges)
        if not self.window.planner.parameter_bytes:
            await self._rows(split_ranges(ranges, FIRST_ROWS)[0])
        if count == 1 or count * self.window.planner.parameter_bytes <= TASK_BYTES:
            rows = await self._rows(ranges)
            if count == 1 or size_of(rows) <= 2 * TASK_BYTES:
                yield self._task(name, ranges, rows)
                return
        for letter, half in zip("ab", split_ranges(ranges, count // 2), strict=True):
            async for task in self._tasks_with_rows(f"{name}.{letter}", half):
                yield task

    async def _rows(self, ranges: Ranges) -> msgspec.Raw:
        rows = self._packed(ranges) if self._source.at_hand else await asyncio.to_thread(self._packed, ranges)
        self.window.planner.parameter_bytes = size_of(rows) / count_indices(ranges)
        return rows

    def _packed(self, ranges: Ranges) -> msgspec.Raw:
        pieces = [self._source.encoded_columns(start, stop) for start, stop in ranges]
        return packed({name: [*chain.from_iterable(piece[name] for piece in pieces)] for name in self._source.names})

    def _task(self, name: str, ranges: Ranges, rows: msgspec.Raw = NO_ROWS) -> Task:
        spec = self._spec
        return Task(run=spec.run, id=name, ranges=ranges, rows=rows, identity=spec.identity, epoch=self._epoch)
