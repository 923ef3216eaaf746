"""The broker contract on RabbitMQ (3.10 and later, 4.x)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from ttg.brokers.base import Broker, BrokerConfig, BrokerStats, Delivery, ResultMessage, Settlement
from ttg.brokers.rabbitmq import checks, encoding
from ttg.brokers.rabbitmq.cleaning import Cleaner
from ttg.brokers.rabbitmq.connection import AmqpConnection
from ttg.brokers.rabbitmq.consumers import Consumers, Received
from ttg.brokers.rabbitmq.figures import Figures
from ttg.brokers.rabbitmq.holders import find_holder
from ttg.brokers.rabbitmq.pool import Connections
from ttg.brokers.rabbitmq.publisher import Outgoing
from ttg.brokers.rabbitmq.run_log import RunRegistry
from ttg.brokers.rabbitmq.sending import Sender
from ttg.brokers.rabbitmq.streams import Decoded, Readers, StreamEntry, last_offset
from ttg.brokers.rabbitmq.topology import Topology
from ttg.clock import loop_time, unix_time
from ttg.errors import BrokerError, MessageError
from ttg.messages import AnyEvent, BrokerTrouble, MessageQuarantined, RunRecord, Task, WorkerLost, decode

T = TypeVar("T")


class RabbitMQBroker(Broker):
    """Three connections (publish, consume, read); leases are what the consuming channel holds unacknowledged."""

    backend = "rabbitmq"

    def __init__(self, config: BrokerConfig, consumer: str) -> None:
        super().__init__(config, consumer)
        self._topology = Topology(config)
        self._names = self._topology.names
        self._connections = Connections(config, consumer, self._on_trouble)
        self._sender = Sender(self._connections, self._topology, self._on_trouble)
        self._runs = RunRegistry(lambda: self._names.runs, self._reading, self._sender.publish)
        self._readers = Readers(self._reading)
        self._cleaner = Cleaner(self._connections, self._topology, self._sender, self._runs)
        self._figures = Figures(
            config, self._topology, lambda: len(self._consuming.outstanding) if self._consuming else 0
        )
        self._consuming: Consumers | None = None
        self._consuming_lock = asyncio.Lock()
        self._chores: set[asyncio.Task[None]] = set()

    # -- lifecycle

    async def open(self) -> None:
        await self._connections.get("publish", patience_seconds=0.0)
        await self._sender.publisher()

    async def close(self) -> None:
        for chore in list(self._chores):
            chore.cancel()
        try:
            if self._consuming is not None and self._consuming.channel.closed is None:
                await self._return_unclaimed(self._consuming)
        except BrokerError:
            pass
        finally:
            self._consuming = None
            self._sender.reset()
            self._runs.detach()
            await self._connections.close()

    async def _reading(self) -> AmqpConnection:
        return await self._connections.get("read")

    # -- runs

    async def find_run(self, run: str, *, fresh: bool = False) -> RunRecord | None:
        return (await self._sender.with_queues(lambda: self._runs.records(fresh=fresh))).get(run)

    async def list_runs(self) -> list[RunRecord]:
        return list((await self._sender.with_queues(self._runs.records)).values())

    async def find_spec(self, record: RunRecord) -> bytes | None:
        return await self._sender.with_queues(lambda: self._runs.spec(record))

    async def swap_run(self, old: RunRecord | None, new: RunRecord, spec: bytes | None = None) -> bool:
        return await self._sender.with_queues(lambda: self._runs.swap(old, new, spec))

    async def forget_run(self, record: RunRecord) -> None:
        await self._runs.forget(record)

    # -- tasks

    async def submit(self, tasks: Sequence[Task]) -> None:
        await self._sender.publish(encoding.task_message(self._names.tasks, task) for task in tasks)

    async def lease(self, limit: int, wait_seconds: float) -> list[Delivery]:
        deadline = loop_time() + wait_seconds
        while True:

            async def take() -> list[Received]:
                return await (await self._leasing()).take(limit, deadline - loop_time())

            received = await self._sender.with_queues(take)
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
            if self._runs.is_removed(task.identity):
                message.consumers.acknowledge([message])
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
        await self._sender.publisher()  # a broker that is down is said to be, even when nothing is ours any more
        await self._sender.publish(
            [message for settlement in owned for message in await self._outcome_messages(settlement)]
        )
        _acknowledge(settlement.delivery.token for settlement in owned)
        return held

    def _is_ours(self, delivery: Delivery) -> bool:
        """Whether it can be settled: still leased, and its run was not removed (then the task is dropped)."""
        if self._runs.is_removed(delivery.task.identity):
            _acknowledge([delivery.token])
        return bool(delivery.token.held)

    async def _outcome_messages(self, settlement: Settlement) -> list[Outgoing]:
        outcome, names = settlement.outcome, self._names
        retry = await self._retry_queue(outcome.retry_delay_ms) if outcome.retries else ""
        return list(encoding.outcome_messages(outcome, names.results, retry, names.dlq, names.tasks))

    async def _retry_queue(self, delay_ms: int) -> str:
        known = self._topology.known_retry_queue(delay_ms)
        return known or await self._topology.retry_queue(await self._connections.get("publish"), delay_ms)

    async def _return_unclaimed(self, consumers: Consumers) -> None:
        """Stop consuming and give back what arrived without being asked for; consuming starts again with a lease.

        Published again, then acknowledged: a message returned by the broker itself would look like a lost worker's.
        """
        held = [message for message in await consumers.stop() if message.held]
        try:
            await self._sender.publish([message.again(self._names.tasks) for message in held])
        except BrokerError:
            consumers.hand_back(held)
            raise
        consumers.acknowledge(held)

    async def _quarantine(self, message: Received, error: MessageError) -> None:
        await self._sender.publish([encoding.quarantine_message(self._names.dlq, message.body, str(error))])
        message.consumers.acknowledge([message])
        await self._report_quarantined(self._names.tasks, error)

    async def _report_quarantined(self, queue: str, error: MessageError) -> None:
        event = MessageQuarantined(at=unix_time(), source=self.consumer, queue=queue, reason=str(error))
        await self.publish_events([event])

    async def _leasing(self) -> Consumers:
        async with self._consuming_lock:
            if self._consuming is None or self._consuming.channel.closed is not None:
                await self._sender.publisher()  # declares the queues, should the broker have lost them
                await self._runs.log()
                connection = await self._connections.get("consume")
                self._consuming = await Consumers.on(connection, self._names.tasks, self.consumer, self._on_unclaimed)
            return self._consuming

    # -- logs

    async def read_results(
        self, after: str | None, limit: int, wait_seconds: float, identity: str | None = None
    ) -> list[ResultMessage]:
        return await self._read(self._names.results, after, limit, wait_seconds, self._decoded_results, identity or "")

    async def _decoded_results(self, entries: list[StreamEntry]) -> list[ResultMessage]:
        found = []
        for entry in entries:
            try:
                found.append(encoding.read_result(entry))
            except MessageError as error:
                await self._report_quarantined(self._names.results, error)
        return found

    async def results_end(self) -> str:
        async def newest() -> int:
            return await last_offset(await self._reading(), self._names.results)

        offset = await self._sender.with_queues(newest)
        return "" if offset < 0 else str(offset)

    async def trim_results(self, identity: str, up_to: str, keep_bytes: int) -> int:
        """Nothing: the stream retires its oldest segments by itself once they are too old or too many."""
        return 0

    async def publish_events(self, events: Iterable[AnyEvent]) -> None:
        await self._sender.post(encoding.event_message(self._names.events, event) for event in events)

    async def read_events(self, after: str | None, limit: int, wait_seconds: float) -> list[tuple[str, AnyEvent]]:
        async def decoded(entries: list[StreamEntry]) -> list[tuple[str, AnyEvent]]:
            return list(encoding.read_events(entries))

        return await self._read(self._names.events, after, limit, wait_seconds, decoded)

    async def _read(
        self, stream: str, after: str | None, limit: int, wait_seconds: float, decoded: Decoded[T], identity: str = ""
    ) -> list[T]:
        return await self._sender.with_queues(
            lambda: self._readers.read_decoded(stream, after, limit, wait_seconds, decoded, identity)
        )

    # -- dead letters, looking and cleaning

    async def take_dead_letters(self, identity: str, indices: Iterable[int]) -> int:
        return await self._cleaner.take_dead_letters(identity, set(indices))

    async def stats(self) -> BrokerStats:
        return await self._figures.look(await self._reading())

    async def purge(self, record: RunRecord | None = None, *, dry_run: bool = False) -> dict[str, int]:
        if self._consuming is not None:
            await self._return_unclaimed(self._consuming)
        if record is not None:
            return await self._purge_run(record, dry_run=dry_run)
        counts = await self._cleaner.purge_namespace(dry_run=dry_run)
        if not dry_run and self._consuming is not None:
            self._consuming.forget_everything()
        return counts

    async def _purge_run(self, record: RunRecord, *, dry_run: bool) -> dict[str, int]:
        current = await self.find_run(record.run, fresh=True)
        counts = {"runs": int(current is not None and current.identity == record.identity)}
        if not dry_run:
            await self.forget_run(record)
            self._drop_held(record.identity)
        counts |= await self._cleaner.purge_run(record, dry_run=dry_run)
        await self.find_run(record.run, fresh=True)
        return counts

    def _drop_held(self, identity: str) -> None:
        """Remove the tasks of a run that we hold; other workers drop theirs when they hear of the removal."""
        if self._consuming is not None:
            held = list(self._consuming.outstanding.values())
            self._consuming.acknowledge([task for task in held if encoding.identity_of("task", task) == identity])

    async def diagnose(self) -> list[checks.Finding]:
        return await checks.diagnose(self.config, self._topology, self._reading)

    # -- what happens by itself

    def _on_trouble(self, text: str, recovered: bool) -> None:
        self._start(
            self.publish_events, [BrokerTrouble(at=unix_time(), source=self.consumer, text=text, recovered=recovered)]
        )

    def _on_unclaimed(self, consumers: Consumers) -> None:
        self._start(self._return_unclaimed, consumers)

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
        tasks = {delivery.task.key for delivery in taken_over}
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


def _acknowledge(messages: Iterable[Received]) -> None:
    by_consumers: dict[Consumers, list[Received]] = {}
    for message in messages:
        by_consumers.setdefault(message.consumers, []).append(message)
    for consumers, theirs in by_consumers.items():
        consumers.acknowledge(theirs)
