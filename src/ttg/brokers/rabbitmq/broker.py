"""The broker contract on RabbitMQ (3.10 and later, 4.x)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from ttg.brokers.base import Broker, BrokerConfig, BrokerStats, Delivery, QueueStats, ResultMessage, Settlement
from ttg.brokers.rabbitmq import checks, encoding
from ttg.brokers.rabbitmq.connection import Connection, QueueBusy, QueueGone
from ttg.brokers.rabbitmq.holders import find_holder
from ttg.brokers.rabbitmq.leases import Leases, Received
from ttg.brokers.rabbitmq.management import Management
from ttg.brokers.rabbitmq.pool import Connections
from ttg.brokers.rabbitmq.publisher import Outgoing, Publisher, Stalled
from ttg.brokers.rabbitmq.records import RunRecords, record_message, removal_message
from ttg.brokers.rabbitmq.rotation import LARGEST_PREFETCH, TURN_SECONDS, Seen, peek, rotate, turn
from ttg.brokers.rabbitmq.streams import Decoded, Entry, Readers, last_offset
from ttg.brokers.rabbitmq.topology import Lengths, Names, Topology, delete_queue
from ttg.clock import loop_time, unix_time
from ttg.errors import BrokerError, BrokerUnavailable, MessageError
from ttg.messages import (
    AnyEvent,
    BrokerTrouble,
    DeadLetter,
    MessageQuarantined,
    RunRecord,
    Task,
    WorkerLost,
    decode,
)

MOST_LOOKS = 10
MOST_TURNS = 500

T = TypeVar("T")


class RabbitMQBroker(Broker):
    """Three connections (publish, consume, read); leases are what the consuming channel holds unacknowledged."""

    backend = "rabbitmq"

    def __init__(self, config: BrokerConfig, consumer: str) -> None:
        super().__init__(config, consumer)
        self._topology = Topology(config)
        self._names = self._topology.names
        self._connections = Connections(config, consumer, self._on_trouble)
        self._readers = Readers(lambda: self._connections.get("read"))
        self._management = Management(config)
        self._publisher: Publisher | None = None
        self._publisher_lock = asyncio.Lock()
        self._leases: Leases | None = None
        self._leases_lock = asyncio.Lock()
        self._runs: RunRecords | None = None
        self._runs_lock = asyncio.Lock()
        self._turn_lock = asyncio.Lock()
        self._chores: set[asyncio.Task[None]] = set()

    # -- lifecycle

    async def open(self) -> None:
        await self._connections.get("publish", patience_seconds=0.0)
        await self._publishing()

    async def close(self) -> None:
        for chore in list(self._chores):
            chore.cancel()
        try:
            if self._leases is not None and self._leases.channel.closed is None:
                await self.release_unclaimed(self._leases)
        except BrokerError:
            pass
        finally:
            self._publisher = self._leases = self._runs = None
            await self._connections.close()

    async def release_unclaimed(self, leases: Leases) -> None:
        """Stop consuming and give back what arrived without being asked for; consuming starts again with a lease."""
        await self._give_back(await leases.stop(), claimed=False)

    # -- runs

    async def publish_run(self, record: RunRecord) -> None:
        await self._publish([record_message(self._names.runs, record)])

    async def find_run(self, run: str) -> RunRecord | None:
        return (await self._known_runs()).get(run)

    async def list_runs(self) -> list[RunRecord]:
        return list((await self._known_runs()).values())

    async def _known_runs(self) -> dict[str, RunRecord]:
        async def catch_up() -> dict[str, RunRecord]:
            connection = await self._connections.get("read")
            newest = await last_offset(connection, self._names.runs)
            return await (await self._run_records()).catch_up(newest)

        return await self._with_queues(catch_up)

    async def _run_records(self) -> RunRecords:
        async with self._runs_lock:
            if self._runs is None or not self._runs.usable:
                self._runs = await RunRecords.attach(await self._connections.get("read"), self._names.runs)
            return self._runs

    # -- tasks

    async def submit(self, tasks: Sequence[Task]) -> None:
        await self._publish(encoding.task_message(self._names.tasks, task) for task in tasks)

    async def lease(self, limit: int, wait_seconds: float) -> list[Delivery]:
        deadline = loop_time() + wait_seconds
        while True:

            async def take() -> list[Received]:
                return await (await self._leasing()).take(limit, deadline - loop_time())

            received = await self._with_queues(take)
            deliveries = await self._accept(received)
            if deliveries or loop_time() >= deadline:
                return deliveries

    async def _accept(self, received: list[Received]) -> list[Delivery]:
        """What can be worked on; the rest is removed: undecodable messages, tasks of runs that were removed."""
        deliveries = []
        for message in received:
            try:
                task: Task = decode(message.body, Task)
            except MessageError as error:
                await self._quarantine(message, error)
                continue
            if self._is_removed(task.run):
                message.leases.acknowledge([message])
                continue
            deliveries.append(Delivery(task, message, message.before + 1))
        if taken_over := [delivery for delivery in deliveries if delivery.token.redelivered]:
            self._start(self._report_lost_workers, taken_over)
        return deliveries

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return [delivery for delivery in deliveries if not delivery.token.held]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        held = [self._is_ours(settlement.delivery) for settlement in settlements]
        owned = [settlement for settlement, ours in zip(settlements, held, strict=True) if ours]
        await self._publishing()  # a broker that is down is said to be, even when nothing is ours any more
        await self._publish([letter for settlement in owned for letter in await self._outcome_messages(settlement)])
        self._acknowledge(settlement.delivery.token for settlement in owned)
        return held

    def _is_ours(self, delivery: Delivery) -> bool:
        """Whether it can be settled: still leased, and its run was not removed (then the task is dropped)."""
        if self._is_removed(delivery.task.run):
            self._acknowledge([delivery.token])
        return bool(delivery.token.held)

    def _is_removed(self, run: str) -> bool:
        return self._runs is not None and self._runs.is_removed(run)

    async def _outcome_messages(self, settlement: Settlement) -> list[Outgoing]:
        outcome, names = settlement.outcome, self._names
        retry = await self._retry_queue(outcome.retry_delay_ms) if outcome.retries else ""
        return list(encoding.outcome_messages(outcome, names.results, retry, names.dlq, names.tasks))

    async def _retry_queue(self, delay_ms: int) -> str:
        known = self._topology.known_retry_queue(delay_ms)
        return known or await self._topology.retry_queue(await self._connections.get("publish"), delay_ms)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._give_back([delivery.token for delivery in deliveries], claimed=True)

    async def _give_back(self, messages: Sequence[Received], *, claimed: bool) -> None:
        """Publish again, then acknowledge: a message returned by the broker itself would look like a lost worker's."""
        held = [message for message in messages if message.held]
        try:
            await self._publish([message.again(self._names.tasks, claimed=claimed) for message in held])
        except BrokerError:
            for message in held:
                message.leases.hand_back([message])
            raise
        self._acknowledge(held)

    @staticmethod
    def _acknowledge(messages: Iterable[Received]) -> None:
        by_leases: dict[Leases, list[Received]] = {}
        for message in messages:
            by_leases.setdefault(message.leases, []).append(message)
        for leases, theirs in by_leases.items():
            leases.acknowledge(theirs)

    async def _quarantine(self, message: Received, error: MessageError) -> None:
        await self._publish([encoding.quarantine_message(self._names.dlq, message.body, str(error))])
        message.leases.acknowledge([message])
        queue = self._names.tasks
        await self.publish_events(
            [MessageQuarantined(at=unix_time(), source=self.consumer, queue=queue, reason=str(error))]
        )

    async def _leasing(self) -> Leases:
        async with self._leases_lock:
            if self._leases is None or self._leases.channel.closed is not None:
                await self._publishing()  # declares the queues, should the broker have lost them
                await self._run_records()
                connection = await self._connections.get("consume")
                self._leases = await Leases.on(connection, self._names.tasks, self.consumer, self._on_unclaimed)
            return self._leases

    # -- logs

    async def read_results(
        self, after: str | None, limit: int, wait_seconds: float, run: str | None = None
    ) -> list[ResultMessage]:
        return await self._read(self._names.results, after, limit, wait_seconds, self._decoded_results, run or "")

    async def _decoded_results(self, entries: list[Entry]) -> list[ResultMessage]:
        found = []
        for entry in entries:
            try:
                found.append(encoding.read_result(entry))
            except MessageError as error:
                queue = self._names.results
                event = MessageQuarantined(at=unix_time(), source=self.consumer, queue=queue, reason=str(error))
                await self.publish_events([event])
        return found

    async def trim_results(self, run: str, up_to: str, keep_bytes: int) -> None:
        """Nothing: the stream retires its oldest segments by itself once it exceeds its maximum size."""

    async def publish_events(self, events: Iterable[AnyEvent]) -> None:
        try:
            publisher = await self._publishing()
            for event in events:
                publisher.post(encoding.event_message(self._names.events, event))
        except BrokerError:
            return

    async def read_events(self, after: str | None, limit: int, wait_seconds: float) -> list[tuple[str, AnyEvent]]:
        async def decoded(entries: list[Entry]) -> list[tuple[str, AnyEvent]]:
            return list(encoding.read_events(entries))

        return await self._read(self._names.events, after, limit, wait_seconds, decoded)

    async def _read(
        self, stream: str, after: str | None, limit: int, wait_seconds: float, decoded: Decoded[T], run: str = ""
    ) -> list[T]:
        return await self._with_queues(
            lambda: self._readers.read_decoded(stream, after, limit, wait_seconds, decoded, run)
        )

    # -- dead letters

    async def dead_letters(self, run: str | None = None, limit: int = 1000) -> list[DeadLetter]:
        def wanted(seen: Seen) -> bool:
            return seen.kind == "dead letter" and (run is None or seen.headers.get("run") == run)

        async def look() -> list[Seen]:
            return await peek(await self._connections.get("read"), self._names.dlq, wanted, limit)

        return [decode(seen.body, DeadLetter) for seen in await self._in_turn(look)]

    async def take_dead_letters(self, run: str, indices: Iterable[int] | None = None) -> int:
        chosen = None if indices is None else set(indices)

        def unwanted(seen: Seen) -> bool:
            return (
                seen.kind == "dead letter"
                and seen.headers.get("run") == run
                and (chosen is None or seen.headers.get("index") in chosen)
            )

        return await self._rotate(self._names.dlq, unwanted)

    async def _rotate(self, queue: str, unwanted: Callable[[Seen], bool]) -> int:
        async def pass_through() -> int:
            connection = await self._connections.get("read")
            return await rotate(connection, queue, unwanted, self._publish)

        return await self._in_turn(pass_through)

    async def _in_turn(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """``attempt``, which looks through a queue, while nobody else does."""
        async with self._turn_lock:
            for _ in range(MOST_TURNS):
                try:
                    return await self._with_queues(lambda: self._take_turn(attempt))
                except QueueBusy:
                    await asyncio.sleep(TURN_SECONDS)
            return await self._with_queues(lambda: self._take_turn(attempt))

    async def _take_turn(self, attempt: Callable[[], Awaitable[T]]) -> T:
        async with turn(await self._connections.get("read"), self._names.dlq):
            return await attempt()

    # -- looking and cleaning

    async def stats(self) -> BrokerStats:
        connection = await self._connections.get("read")
        (work, mine), streams, unacknowledged = await asyncio.gather(
            self._work_figures(connection), self._topology.stream_lengths(connection), self._management.unacknowledged()
        )
        unacknowledged[self._names.tasks] = max(unacknowledged.get(self._names.tasks, 0), mine)
        lengths = work | streams
        known, actual = Names.within(self.config.namespace), self._names
        rows = [
            self._row(known.tasks, [actual.tasks], lengths, unacknowledged),
            self._row(known.retry, list(self._topology.retry_queues), lengths, unacknowledged),
            self._row(known.dlq, [actual.dlq], lengths, unacknowledged),
            self._row(known.results, [actual.results], lengths, unacknowledged),
            self._row(known.events, [actual.events], lengths, unacknowledged),
        ]
        return BrokerStats(self.backend, connection.server_version, tuple(rows))

    async def _work_figures(self, connection: Connection) -> tuple[Lengths, int]:
        """The work queues' lengths and how many tasks we hold: seen twice alike, lest one on its way is missed."""
        before = None
        for _ in range(MOST_LOOKS):
            lengths, mine = (
                await self._topology.work_lengths(connection),
                len(self._leases.outstanding) if self._leases else 0,
            )
            if not mine or (lengths, mine) == before:
                break
            before = (lengths, mine)
        return lengths, mine

    @staticmethod
    def _row(name: str, queues: list[str], lengths: Lengths, unacknowledged: dict[str, int]) -> QueueStats:
        ready = sum(lengths[queue][0] for queue in queues if queue in lengths)
        consumers = sum(lengths[queue][1] for queue in queues if queue in lengths)
        known = [unacknowledged[queue] for queue in queues if queue in unacknowledged]
        return QueueStats(name, ready + sum(known), ready, sum(known) if known else None, consumers)

    async def purge(self, run: str | None = None, *, dry_run: bool = False) -> dict[str, int]:
        if self._leases is not None:
            await self.release_unclaimed(self._leases)
        if run is None:
            return await self._purge_namespace(dry_run)
        return await self._purge_run(run, dry_run)

    async def _purge_namespace(self, dry_run: bool) -> dict[str, int]:
        connection = await self._connections.get("publish")
        existing = await self._topology.check(connection)
        if self._names.runs in existing:
            await self._adopt_retry_queues()
        streams = await self._topology.stream_lengths(connection)
        lengths = await self._topology.work_lengths(connection)
        lengths |= {name: figures for name, figures in streams.items() if name in existing}
        if not dry_run:
            for queue in lengths:
                await delete_queue(connection, queue)
            self._publisher = None
            if self._leases is not None:
                self._leases.forget_everything()
        return {queue: length for queue, (length, _) in lengths.items()}

    async def _purge_run(self, run: str, dry_run: bool) -> dict[str, int]:
        def ours(seen: Seen) -> bool:
            return encoding.run_of(seen.kind, seen) == run

        names = self._names
        counts = {"runs": int(run in await self._known_runs())}
        if not dry_run:
            await self._publish([removal_message(names.runs, run)])
            self._drop_held(run)
        for queue in (names.tasks, *self._topology.retry_queues, names.dlq):
            if dry_run:
                connection = await self._connections.get("read")
                counts[queue] = len(await peek(connection, queue, ours, limit=LARGEST_PREFETCH))
            else:
                counts[queue] = await self._rotate(queue, ours)
        await self._known_runs()
        return counts

    def _drop_held(self, run: str) -> None:
        """Remove the tasks of ``run`` that we hold; other workers drop theirs when they hear of the removal."""
        if self._leases is not None:
            held = list(self._leases.outstanding.values())
            self._leases.acknowledge([message for message in held if encoding.run_of("task", message) == run])

    async def _adopt_retry_queues(self) -> None:
        """Learn the retry queues of other clients' runs, from the runs' specifications."""
        for record in (await self._known_runs()).values():
            delay_ms = encoding.retry_delay_ms(record)
            if delay_ms:
                await self._topology.adopt(await self._connections.get("read"), delay_ms)

    async def diagnose(self) -> list[checks.Finding]:
        return await checks.diagnose(self.config, self._topology, lambda: self._connections.get("read"))

    # -- publishing

    async def _publish(self, messages: Iterable[Outgoing]) -> None:
        """Publish with confirmations; queues that are gone or dead are made again, and what was for them sent again."""
        waiting = list(messages)
        for _ in range(3):
            if not waiting:
                return
            try:
                waiting = await (await self._publishing()).publish(waiting)
            except Stalled as stalled:
                await self._recreate(stalled.queues)
                raise
            if waiting:
                await self._topology.declare(await self._connections.get("publish"))
        if waiting:
            raise BrokerUnavailable(f"RabbitMQ cannot route to {waiting[0].queue}: it keeps disappearing")

    async def _publishing(self) -> Publisher:
        async with self._publisher_lock:
            if self._publisher is None or not self._publisher.usable:
                connection = await self._topology.declare_patiently(lambda: self._connections.get("publish"))
                self._publisher = await Publisher.on(connection)
            return self._publisher

    async def _recreate(self, queues: Iterable[str]) -> None:
        """Delete and declare queues that confirm nothing: a quorum queue whose disk state a crash destroyed."""
        connection = await self._connections.get("publish")
        for queue in queues:
            self._on_trouble(f"RabbitMQ: the queue {queue} is dead: made again", False)
            await delete_queue(connection, queue)
        await self._topology.declare(connection)

    async def _with_queues(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """``attempt``, once more if a queue turned out to be missing: somebody deleted it."""
        try:
            return await attempt()
        except QueueGone as error:
            self._on_trouble(f"{error}: declared again", False)
            await self._topology.declare(await self._connections.get("publish"))
            return await attempt()

    # -- what happens by itself

    def _on_trouble(self, text: str, recovered: bool) -> None:
        self._start(
            self.publish_events, [BrokerTrouble(at=unix_time(), source=self.consumer, text=text, recovered=recovered)]
        )

    def _on_unclaimed(self, leases: Leases) -> None:
        self._start(self.release_unclaimed, leases)

    def _start(self, chore: Callable[..., Awaitable[None]], *arguments: object) -> None:
        async def run() -> None:
            try:
                await chore(*arguments)
            except BrokerError:
                return

        task = asyncio.get_running_loop().create_task(run())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _report_lost_workers(self, taken_over: list[Delivery]) -> None:
        """Say whose tasks these were. After the broker itself was away, redeliveries mean nothing."""
        if loop_time() - self._connections.regained_at < self.config.lease_seconds:
            return
        tasks = {f"{delivery.task.run}/{delivery.task.id}" for delivery in taken_over}
        connection = await self._connections.get("read")
        since = unix_time() - 2 * self.config.heartbeat_seconds
        worker, last_heard = await find_holder(connection, self._names.events, tasks, since, besides=self.consumer)
        now = unix_time()
        lost = WorkerLost(
            at=now,
            source=self.consumer,
            worker=worker,
            tasks=len(taken_over),
            after_seconds=max(now - last_heard, 0.0) if last_heard else 0.0,
            how="redelivered",
        )
        await self.publish_events([lost])
