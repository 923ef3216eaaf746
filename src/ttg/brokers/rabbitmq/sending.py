"""Publishing so that it arrives: queues that are gone are declared again, and what was for them is sent once more.

Queues are declared by the first publisher, and again only when the broker says that one is missing: never because
something stalled or a node is away (see :mod:`~ttg.brokers.rabbitmq.topology`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from ttg.brokers.rabbitmq.connection import QueueDown, QueueGone
from ttg.brokers.rabbitmq.pool import Connections
from ttg.brokers.rabbitmq.publisher import Outgoing, Publisher, Stalled
from ttg.brokers.rabbitmq.topology import Topology, delete_queue
from ttg.errors import BrokerError, BrokerUnavailable

MOST_ATTEMPTS = 3

T = TypeVar("T")


class Sender:
    """The publishing half of a client. ``on_trouble`` is told ``(text, recovered)`` of queues made again."""

    def __init__(self, connections: Connections, topology: Topology, on_trouble: Callable[[str, bool], None]) -> None:
        self._declared = False
        self._connections = connections
        self._topology = topology
        self._on_trouble = on_trouble
        self._publisher: Publisher | None = None
        self._opening = asyncio.Lock()

    async def publisher(self) -> Publisher:
        """A publisher whose channel is open; every queue is declared by then."""
        async with self._opening:
            if self._publisher is None or not self._publisher.usable:
                if not self._declared:
                    await self._topology.declare_retrying(lambda: self._connections.get("publish"))
                    self._declared = True
                self._publisher = await Publisher.on(await self._connections.get("publish"))
            return self._publisher

    def reset(self) -> None:
        """The queues are gone, or the connection is: the next publisher declares them again."""
        self._publisher = None
        self._declared = False

    async def publish(self, messages: Iterable[Outgoing]) -> None:
        """Publish with confirmations. ``BrokerError`` when not all of them are known to be there."""
        waiting = list(messages)
        for _ in range(MOST_ATTEMPTS):
            if not waiting:
                return
            try:
                waiting = await (await self.publisher()).publish(waiting)
            except Stalled as stalled:
                if self._topology.is_single_node:
                    await self._recreate(stalled.queues)
                else:
                    await self._topology.follow(await self._connections.get("publish"))
                raise
            if waiting:
                await self._topology.declare(await self._connections.get("publish"))
        if waiting:
            raise BrokerUnavailable(f"RabbitMQ cannot route to {waiting[0].queue}: it keeps disappearing")

    async def post(self, messages: Iterable[Outgoing]) -> None:
        """Publish without waiting; may be lost. Never raises."""
        try:
            publisher = await self.publisher()
            for message in messages:
                publisher.post(message)
        except BrokerError:
            return

    async def with_queues(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """``attempt``, once more if a queue turned out to be missing: somebody deleted it."""
        try:
            return await attempt()
        except (QueueGone, QueueDown) as error:
            if isinstance(error, QueueDown) and not self._topology.is_single_node:
                if await self._topology.follow(await self._connections.get("publish")):
                    return await attempt()
                raise
            self._on_trouble(f"{error}: declared again", False)
            await self._topology.declare(await self._connections.get("publish"))
            return await attempt()

    async def _recreate(self, queues: Iterable[str]) -> None:
        """Delete and declare queues that confirm nothing: a quorum queue whose disk state a crash destroyed."""
        connection = await self._connections.get("publish")
        for queue in queues:
            self._on_trouble(f"RabbitMQ: the queue {queue} is dead: made again", False)
            await delete_queue(connection, queue)
        await self._topology.declare(connection)
