"""The task queue of one client: what it consumes, how tasks are settled, and what goes back unasked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from ttg.brokers.base import BrokerConfig, Delivery, Settlement
from ttg.brokers.rabbitmq import encoding
from ttg.brokers.rabbitmq.consumers import Consumers, Received
from ttg.brokers.rabbitmq.evidence import find_holder, lost_with
from ttg.brokers.rabbitmq.pool import Connections
from ttg.brokers.rabbitmq.publisher import Outgoing
from ttg.brokers.rabbitmq.renewal import Renewal
from ttg.brokers.rabbitmq.run_log import RunRegistry
from ttg.brokers.rabbitmq.sending import Sender
from ttg.brokers.rabbitmq.topology import Topology
from ttg.clock import loop_time, unix_time
from ttg.errors import BrokerError, MessageError
from ttg.messages import AnyEvent, MessageQuarantined, Task, TasksTakenOver, WorkerLost, decode

EVIDENCE_SECONDS = 3600.0  # how far back to look for workers that were lost with a task
SILENT_HEARTBEATS = 2.0
LOOK_SECONDS = 0.2  # while an examination is under way


class Chores:
    """Things to do beside what was asked for; that the broker is away is no reason to tell anybody."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, chore: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Do it in the background."""

        async def run() -> None:
            try:
                await chore(*arguments)
            except BrokerError:
                return

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Leave undone what is not done."""
        for task in list(self._tasks):
            task.cancel()


class WorkQueue:
    """``<namespace>.tasks`` as ``consumer`` uses it. ``publish_events`` tells of what happened by the way."""

    def __init__(
        self,
        config: BrokerConfig,
        consumer: str,
        connections: Connections,
        topology: Topology,
        sender: Sender,
        runs: RunRegistry,
        chores: Chores,
        publish_events: Callable[[Iterable[AnyEvent]], Awaitable[None]],
    ) -> None:
        self._config, self._consumer = config, consumer
        self._connections, self._topology, self._sender = connections, topology, sender
        self._runs, self._chores, self._publish_events = runs, chores, publish_events
        self._names = topology.names
        self._consumers: Consumers | None = None
        self._renewal = Renewal(config, consumer, connections, topology, sender)
        self._opening = asyncio.Lock()
        self._examining = 0
        self._examined: list[Delivery] = []

    @property
    def held(self) -> int:
        """How many tasks this client holds."""
        return sum(len(consumers.outstanding) for consumers in self._holding())

    async def lease(self, limit: int, wait_seconds: float) -> list[Delivery]:
        """As :meth:`Broker.lease`."""
        deadline = loop_time() + wait_seconds
        while True:

            async def take() -> list[Received]:
                left = deadline - loop_time()
                return await (await self._consuming()).take(limit, min(left, LOOK_SECONDS) if self._examining else left)

            if deliveries := self._take_examined(limit):
                return deliveries
            deliveries = await self._accept(await self._sender.with_queues(take))
            if deliveries or loop_time() >= deadline:
                return deliveries

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """As :meth:`Broker.renew`: the channel is the lease, as long as the broker's ``consumer_timeout`` allows."""
        await self._renewal.renew(deliveries)
        return [delivery for delivery in deliveries if not delivery.token.held]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """As :meth:`Broker.settle`."""
        held = [self._is_ours(settlement.delivery) for settlement in settlements]
        owned = [settlement for settlement, ours in zip(settlements, held, strict=True) if ours]
        for settlement in owned:
            if settlement.outcome.remainder:
                settlement.delivery.token.consumers.cancel([settlement.delivery.token])
        await self._sender.publisher()  # a broker that is down is said to be, even when nothing is ours any more
        await self._sender.publish(
            [message for settlement in owned for message in await self._outcome_messages(settlement)]
        )
        _acknowledge(settlement.delivery.token for settlement in owned)
        return held

    async def pause(self) -> None:
        """Give back what arrived without being asked for; consuming goes on with the next lease."""
        if self._consumers is not None and self._consumers.channel.closed is None:
            await self._return_unclaimed(self._consumers)

    def drop(self, identity: str) -> None:
        """Remove the tasks of a run that we hold; other workers drop theirs when they hear of the removal."""
        held = [task for consumers in self._holding() for task in consumers.outstanding.values()]
        _acknowledge(task for task in held if encoding.identity_of("task", task) == identity)

    def forget_everything(self) -> None:
        """The queues were deleted with what we held."""
        for consumers in self._holding():
            consumers.forget_everything()

    def reset(self) -> None:
        """The connection is closed."""
        self._consumers = self._renewal.consumers = None

    def _holding(self) -> list[Consumers]:
        return [consumers for consumers in (self._consumers, self._renewal.consumers) if consumers is not None]

    # -- leasing

    async def _consuming(self) -> Consumers:
        async with self._opening:
            if self._consumers is None or self._consumers.channel.closed is not None:
                await self._sender.publisher()  # declares the queues, should the broker have lost them
                await self._runs.log()
                connection = await self._connections.get("consume")
                self._consumers = await Consumers.on(connection, self._names.tasks, self._consumer, self._on_unclaimed)
                self._consumers.channel.on_close.append(self._renewal.learn)
            return self._consumers

    async def _accept(self, received: list[Received]) -> list[Delivery]:
        """What can be worked on; the rest is removed (undecodable messages, tasks of runs that were removed), or looked
        into first, because workers may have been lost with it."""
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
            deliveries.append(Delivery(task, message))
        return await self._judge_returned(deliveries) if any(map(_came_back, deliveries)) else deliveries

    async def _judge_returned(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Those to work on now. That a task came back means nothing after the broker itself was away; once may be for
        any reason; more often, or once when it is marked as dangerous, has to be looked into."""
        if loop_time() - self._connections.regained_at < self._config.lease_seconds:
            return deliveries
        returned = [delivery for delivery in deliveries if _came_back(delivery)]
        taken = TasksTakenOver(
            at=unix_time(), source=self._consumer, tasks=tuple(delivery.task.key for delivery in returned)
        )
        await self._sender.publish([encoding.event_message(self._names.events, taken)])
        suspicious = [delivery for delivery in returned if delivery.token.returned > 1 or delivery.task.exclusive]
        self._chores.start(self._report_lost_worker, returned)
        if suspicious:
            self._examining += 1
            self._chores.start(self._examine, suspicious)
        return [
            replace(delivery, deliveries=2) if _came_back(delivery) else delivery
            for delivery in deliveries
            if delivery not in suspicious
        ]

    def _take_examined(self, limit: int) -> list[Delivery]:
        taken, self._examined = self._examined[:limit], self._examined[limit:]
        return [delivery for delivery in taken if delivery.token.held]

    async def _examine(self, suspicious: list[Delivery]) -> None:
        """Find out how many workers were lost with each of these; :meth:`lease` returns them then."""
        try:
            lost = await lost_with(
                await self._connections.get("read"),
                self._names.events,
                {delivery.task.key for delivery in suspicious},
                since=unix_time() - EVIDENCE_SECONDS,
                besides=self._consumer,
                silent_seconds=SILENT_HEARTBEATS * self._config.heartbeat_seconds,
            )
        except BrokerError:
            for delivery in suspicious:
                delivery.token.consumers.hand_back([delivery.token])
            raise
        finally:
            self._examining -= 1
        self._examined += [replace(found, deliveries=1 + lost[found.task.key]) for found in suspicious]

    async def _quarantine(self, message: Received, error: MessageError) -> None:
        await self._sender.publish([encoding.quarantine_message(self._names.dlq, message.body, str(error))])
        message.consumers.acknowledge([message])
        event = MessageQuarantined(at=unix_time(), source=self._consumer, queue=self._names.tasks, reason=str(error))
        await self._publish_events([event])

    def _on_unclaimed(self, consumers: Consumers) -> None:
        self._chores.start(self._return_unclaimed, consumers)

    async def _return_unclaimed(self, consumers: Consumers) -> None:
        """Published again, then acknowledged: what the broker itself returns looks like a lost worker's."""
        unclaimed = [*await consumers.stop(), *(delivery.token for delivery in self._examined)]
        self._examined.clear()
        await self._return(consumers, [message for message in unclaimed if message.held])

    async def _return(self, consumers: Consumers, held: list[Received]) -> None:
        try:
            await self._sender.publish([message.again(self._names.tasks) for message in held])
        except BrokerError:
            consumers.hand_back(held)
            raise
        consumers.acknowledge(held)

    async def _report_lost_worker(self, returned: list[Delivery]) -> None:
        """Say whose tasks these were."""
        tasks = {delivery.task.key for delivery in returned}
        connection = await self._connections.get("read")
        since = unix_time() - 2 * self._config.heartbeat_seconds
        worker, heard_at = await find_holder(connection, self._names.events, tasks, since, besides=self._consumer)
        now = unix_time()
        lost = WorkerLost(
            at=now,
            source=self._consumer,
            worker=worker,
            tasks=len(returned),
            after_seconds=max(now - heard_at, 0.0) if heard_at else 0.0,
            how="redelivered",
        )
        await self._publish_events([lost])

    # -- settling

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


def _came_back(delivery: Delivery) -> bool:
    return bool(delivery.token.returned)


def _acknowledge(messages: Iterable[Received]) -> None:
    by_consumers: dict[Consumers, list[Received]] = {}
    for message in messages:
        by_consumers.setdefault(message.consumers, []).append(message)
    for consumers, theirs in by_consumers.items():
        consumers.acknowledge(theirs)
