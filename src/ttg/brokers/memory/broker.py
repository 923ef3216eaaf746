"""The broker in this process: reference for the contract's semantics, and what the fault simulation runs on.

Several :class:`MemoryBroker` clients share one :class:`~ttg.brokers.memory.server.MemoryServer`. Time is the running
loop's, so an event loop with virtual time makes leases and delays virtual too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import TypeVar

from ttg.brokers.base import Broker, BrokerConfig, BrokerStats, Delivery, QueueStats, ResultMessage, Settlement
from ttg.brokers.memory.server import Bell, Bells, Fate, MemoryServer
from ttg.brokers.memory.state import Leased, Log, LogEntry, Namespace, Takeover
from ttg.clock import loop_time, unix_time
from ttg.errors import BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable, MessageError
from ttg.messages import (
    AnyEvent,
    DeadLetter,
    MessageQuarantined,
    ResultHeader,
    RunRecord,
    Task,
    WorkerLost,
    decode,
    decode_event,
    encode,
)

MAINTENANCE_SECONDS = 1.0
STALL_SECONDS = 1.0
PAGE_BYTES = 4 << 20
REFUSALS: dict[Fate, type[BrokerError]] = {
    Fate.FULL: BrokerFull,
    Fate.READ_ONLY: BrokerUnavailable,
    Fate.REFUSED: BrokerRefused,
    Fate.STALLED: BrokerUnavailable,
}

E = TypeVar("E")


class MemoryBroker(Broker):
    """A client of a :class:`MemoryServer`."""

    backend = "memory"

    def __init__(self, config: BrokerConfig, consumer: str, server: MemoryServer) -> None:
        super().__init__(config, consumer)
        self.server = server

    @property
    def _here(self) -> Namespace:
        return self.server.namespace(self.config.namespace)

    @property
    def _bells(self) -> Bells:
        return self.server.bells(self.config.namespace)

    @asynccontextmanager
    async def _call(self, verb: str) -> AsyncIterator[Namespace]:
        """One request and its reply; what the block does happens at once, between the two."""
        await self.server.travel(self.consumer)
        fate = Fate.REQUEST_LOST if self.server.down else self.server.fate(self.consumer, verb)
        if fate is Fate.REQUEST_LOST:
            self._break(verb)
        if fate is Fate.STALLED:
            await asyncio.sleep(STALL_SECONDS)
        if fate in REFUSALS:
            raise REFUSALS[fate](f"memory broker: {fate.value} ({verb})")
        yield Namespace() if fate is Fate.SILENT else self._here
        await self.server.travel(self.consumer)
        if fate is Fate.REPLY_LOST:
            self._break(verb)

    def _break(self, verb: str) -> None:
        self.server.drop_connection(self.consumer)
        raise BrokerUnavailable(f"memory broker: connection lost ({verb})")

    async def _repeat(
        self,
        attempt: Callable[[], Awaitable[list[E]]],
        bell: Bell,
        wait_seconds: float,
        next_chore: Callable[[], float] = lambda: math.inf,
    ) -> list[E]:
        """``attempt`` until it brings something or ``wait_seconds`` are over; tried again when ``bell`` rings, and at
        the time of ``next_chore()``."""
        deadline = loop_time() + wait_seconds
        while True:
            rings, drops = bell.rings, self.server.drops(self.consumer)
            found = await attempt()
            now = loop_time()
            if found or now >= deadline:
                return found
            await bell.wait(min(deadline, next_chore()) - now, rings)
            if self.server.drops(self.consumer) != drops:
                raise BrokerUnavailable("memory broker: connection lost while waiting")

    def _next_chore(self) -> float:
        due = self._here.next_due()
        soon = loop_time() + MAINTENANCE_SECONDS
        return soon if due is None else min(due, soon)

    # -- lifecycle

    async def open(self) -> None:
        async with self._call("open"):
            pass

    async def close(self) -> None:
        self._bells.tasks.ring(self._here.free_all(self.consumer))
        self._here.consumers.discard(self.consumer)

    # -- runs

    async def find_run(self, run: str, *, fresh: bool = False) -> RunRecord | None:
        async with self._call("find_run") as here:
            return here.record(run)

    async def list_runs(self) -> list[RunRecord]:
        async with self._call("list_runs") as here:
            return [record for run in here.runs if (record := here.record(run))]

    async def find_spec(self, record: RunRecord) -> bytes | None:
        async with self._call("find_spec") as here:
            return here.specs.get(record.identity)

    async def swap_run(self, old: RunRecord | None, new: RunRecord, spec: bytes | None = None) -> bool:
        async with self._call("swap_run") as here:
            swapped = here.record(new.run) == old
            if swapped:
                here.runs[new.run] = encode(new)
            if swapped and spec is not None:
                here.specs[new.identity] = spec
        return swapped

    async def forget_run(self, record: RunRecord) -> None:
        async with self._call("forget_run") as here:
            if here.record(record.run) == record:
                here.purge(record, dry_run=False)

    # -- tasks

    async def submit(self, tasks: Sequence[Task]) -> None:
        async with self._call("submit") as here:
            for task in tasks:
                here.add_task(encode(task))
            self._bells.tasks.ring(len(tasks))

    async def lease(self, limit: int, wait_seconds: float) -> list[Delivery]:
        async def attempt() -> list[Delivery]:
            async with self._call("lease") as here:
                here.consumers.add(self.consumer)
                self._maintain(here)
                return list(islice(self._take(here), limit))

        return await self._repeat(attempt, self._bells.tasks, wait_seconds, self._next_chore)

    def _maintain(self, here: Namespace) -> None:
        now = loop_time()
        freed = here.promote(now)
        for takeover in here.take_over(now):
            freed += takeover.tasks
            if takeover.owner != self.consumer:
                self._log(self._lost(takeover))
        self._bells.tasks.ring(freed)

    def _lost(self, takeover: Takeover) -> WorkerLost:
        return WorkerLost(
            at=unix_time(),
            source=self.consumer,
            worker=takeover.owner,
            tasks=takeover.tasks,
            after_seconds=takeover.silent_seconds,
            how=takeover.how,
        )

    def _take(self, here: Namespace) -> Iterator[Delivery]:
        now = loop_time()
        while (leased := here.lease_next(self.consumer, now, now + self.config.lease_seconds)) is not None:
            delivery = self._delivery(here, *leased)
            if delivery is not None:
                yield delivery

    def _delivery(self, here: Namespace, number: int, leased: Leased) -> Delivery | None:
        try:
            task: Task = decode(leased.body, Task)
        except MessageError as error:
            here.quarantine(number)
            self._quarantine("tasks", error)
            return None
        return Delivery(task, (number, leased.deliveries), leased.deliveries)

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        async with self._call("renew") as here:
            lost = [delivery for delivery in deliveries if not self._owns(here, delivery)]
            now = loop_time()
            for delivery in deliveries:
                if delivery not in lost:
                    here.prolong(delivery.token[0], now, now + self.config.lease_seconds)
        return lost

    def _owns(self, here: Namespace, delivery: Delivery) -> bool:
        number, deliveries = delivery.token
        return here.owned(number, self.consumer, deliveries) is not None

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        async with self._call("settle") as here:
            settled = [self._settle(here, settlement) for settlement in settlements]
            self._bells.results.ring()
        return settled

    def _settle(self, here: Namespace, settlement: Settlement) -> bool:
        if not self._owns(here, settlement.delivery):
            return False
        here.settle(settlement.delivery.token[0], settlement.outcome, loop_time())
        self._bells.tasks.ring(len(settlement.outcome.remainder) + bool(settlement.outcome.retries))
        return True

    # -- logs

    async def read_results(
        self, after: str | None, limit: int, wait_seconds: float, identity: str | None = None
    ) -> list[ResultMessage]:
        def read(here: Namespace) -> list[ResultMessage]:
            entries = (entry for entry in here.results.after(after) if identity in (None, entry.identity))
            return list(islice(_page(filter(None, map(self._result, entries))), limit))

        return await self._read("read_results", read, self._bells.results, wait_seconds)

    def _result(self, entry: LogEntry) -> ResultMessage | None:
        try:
            return ResultMessage(entry.cursor, decode(entry.body, ResultHeader), entry.payload)
        except MessageError as error:
            self._quarantine("results", error)
            return None

    async def results_end(self) -> str:
        async with self._call("results_end") as here:
            return here.results.end

    async def trim_results(self, identity: str, up_to: str, keep_bytes: int) -> int:
        async with self._call("trim_results") as here:
            return here.results.trim(identity, up_to, keep_bytes)

    async def publish_events(self, events: Iterable[AnyEvent]) -> None:
        async with self._call("publish_events"):
            for event in events:
                self._log(event)

    async def read_events(self, after: str | None, limit: int, wait_seconds: float) -> list[tuple[str, AnyEvent]]:
        start = self._here.events.end if after == "$" else after

        def read(here: Namespace) -> list[tuple[str, AnyEvent]]:
            return list(islice(_decoded_events(here.events, start), limit))

        return await self._read("read_events", read, self._bells.events, wait_seconds)

    async def _read(self, verb: str, read: Callable[[Namespace], list[E]], bell: Bell, wait_seconds: float) -> list[E]:
        async def attempt() -> list[E]:
            async with self._call(verb) as here:
                return read(here)

        return await self._repeat(attempt, bell, wait_seconds)

    def _log(self, event: AnyEvent) -> None:
        events = self._here.events
        events.append(encode(event))
        if len(events) > 2 * self.config.events_kept:
            del events.entries[: -self.config.events_kept]
        self._bells.events.ring()

    def _quarantine(self, queue: str, error: MessageError) -> None:
        name = f"{self.config.namespace}.{queue}"
        self._log(MessageQuarantined(at=unix_time(), source=self.consumer, queue=name, reason=str(error)))

    # -- dead letters

    async def take_dead_letters(self, identity: str, indices: Iterable[int]) -> int:
        wanted = set(indices)

        def doomed(entry: LogEntry) -> bool:
            return entry.identity == identity and decode(entry.body, DeadLetter).index in wanted

        async with self._call("take_dead_letters") as here:
            return here.letters.remove(doomed)

    # -- looking and cleaning

    async def stats(self, *, logs: bool = True) -> BrokerStats:
        async with self._call("stats") as here:
            held = sum(task.owner is not None for task in here.tasks.values())
            sizes = (len(here.retries), len(here.letters), len(here.results), len(here.events))
            tasks = (len(here.tasks), len(here.tasks) - held, held, len(here.consumers))
        others = zip(("tasks.retry", "tasks.dlq", "results", "events"), sizes, strict=True)
        queues = [QueueStats(f"{self.config.namespace}.{name}", size, size, 0) for name, size in others]
        return BrokerStats("memory", "", (QueueStats(f"{self.config.namespace}.tasks", *tasks), *queues))

    async def purge(self, record: RunRecord | None = None, *, dry_run: bool = False) -> dict[str, int]:
        async with self._call("purge") as here:
            counts = here.purge(record, dry_run)
        return {f"{self.config.namespace}.{name}": count for name, count in counts.items() if count}


def _decoded_events(log: Log, after: str | None) -> Iterator[tuple[str, AnyEvent]]:
    for entry in log.after(after):
        try:
            yield entry.cursor, decode_event(entry.body)
        except MessageError:
            continue


def _page(messages: Iterable[ResultMessage]) -> Iterator[ResultMessage]:
    """Of bounded size, as over a network."""
    size = 0
    for message in messages:
        yield message
        size += len(message.payload)
        if size >= PAGE_BYTES:
            return
