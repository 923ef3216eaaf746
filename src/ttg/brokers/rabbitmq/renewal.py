"""Tasks that are held for long. RabbitMQ cannot renew a delivery: when one is not acknowledged within
``consumer_timeout`` (30 minutes by default) it closes the channel, and everything the channel held is executed again.

So what has been held for a while is moved: a copy goes to ``<ns>.tasks.held.<client>``, is consumed from there, and
takes the place of the original, which is acknowledged then; the task goes on being executed. Should the holder die, the
copy becomes ready in that queue, and its time to live sends it back to ``<ns>.tasks``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Iterable
from uuid import uuid4

from ttg.brokers.base import BrokerConfig, Delivery
from ttg.brokers.rabbitmq.connection import AcknowledgementTimeout, consumer_timeout_of
from ttg.brokers.rabbitmq.consumers import Consumers, Received
from ttg.brokers.rabbitmq.encoding import event_message
from ttg.brokers.rabbitmq.pool import Connections
from ttg.brokers.rabbitmq.sending import Sender
from ttg.brokers.rabbitmq.topology import Topology
from ttg.clock import loop_time, unix_time
from ttg.errors import BrokerError, BrokerRefused
from ttg.messages import Task, TasksTakenOver

MOVES_PER_TIMEOUT = 3  # a move that fails, because the broker is away, can be tried again
COPY_SECONDS = 2.0  # less than a copy's time to live

log = logging.getLogger("ttg.broker")


class Renewal:
    """Moves what ``consumer`` holds for long, one message at a time."""

    def __init__(
        self, config: BrokerConfig, consumer: str, connections: Connections, topology: Topology, sender: Sender
    ) -> None:
        self.consumers: Consumers | None = None
        self._consumer = consumer
        self._connections, self._topology, self._sender = connections, topology, sender
        self._timeout_seconds = consumer_timeout_of(config)
        self._moving = asyncio.Lock()
        self._said = False

    def learn(self, error: BrokerError) -> None:
        """A channel was closed. If that was for an acknowledgement that took too long, the next one will be in time."""
        if isinstance(error, AcknowledgementTimeout):
            log.warning("%s", error)
            if used := re.search(r"Timeout value used: (\d+) ms", str(error)):
                self._timeout_seconds = min(self._timeout_seconds, int(used[1]) / 1000)

    async def renew(self, deliveries: Iterable[Delivery]) -> None:
        """Move those that have been held for long. ``BrokerUnavailable`` or ``BrokerFull``: not all were."""
        latest = loop_time() - self._timeout_seconds / MOVES_PER_TIMEOUT
        due = [delivery for delivery in deliveries if delivery.token.at <= latest and delivery.token.held]
        if not due:
            return
        async with self._moving:
            try:
                for delivery in due:
                    await self._move(delivery)
            except BrokerRefused as error:
                self._timeout_seconds = math.inf
                log.warning("calls longer than RabbitMQ's consumer_timeout will be executed again: %s", error)

    async def _move(self, delivery: Delivery) -> None:
        message: Received = delivery.token
        consumers = await self._consuming(delivery.task)
        if not message.held:
            return
        self._say(consumers.queue)
        await self._sender.publish([message.again(consumers.queue, message.returned + 1)])  # it returns if we are lost
        if copy := await self._copy_of(message, consumers):
            if message.held:
                message.move_to(copy)
            else:
                consumers.acknowledge([copy])  # settled meanwhile; or lost, and the original is in its queue again

    async def _copy_of(self, message: Received, consumers: Consumers) -> Received | None:
        deadline = loop_time() + COPY_SECONDS
        while copies := await consumers.take(1, deadline - loop_time()):
            if copies[0].body == message.body:
                return copies[0]
            consumers.acknowledge(copies)  # of a move that was given up
        return None

    async def _consuming(self, task: Task) -> Consumers:
        """Those of our queue; it has another name on each channel: what is left in the former one was lost, and must go
        back. What is confirmed before shows that a quorum of nodes is there: without one, no queue may be made."""
        held = TasksTakenOver(at=unix_time(), source=self._consumer, tasks=(task.key,))
        await self._sender.publish([event_message(self._topology.names.events, held)])
        connection = await self._connections.get("consume")
        if self.consumers is None or self.consumers.channel.closed is not None:
            queue = self._topology.names.held(f"{self._consumer}.{uuid4().hex[:8]}")
            self.consumers = await Consumers.on(connection, queue, self._consumer, Consumers.drop_arrived)
            self.consumers.channel.on_close.append(self.learn)
        await self._topology.declare_held(connection, self.consumers.queue)  # again: it goes when nobody consumes
        return self.consumers

    def _say(self, queue: str) -> None:
        if not self._said:
            self._said = True
            log.info(
                "a task is held for long: it moves to %s, and goes on moving, before RabbitMQ's consumer_timeout "
                "(taken for %.0f s; ?consumer_timeout=SECONDS in the broker's URL says what it is)",
                queue,
                self._timeout_seconds,
            )
