"""Leases on RabbitMQ: the unacknowledged deliveries of one channel. When the channel dies, all of them are lost.

A consumer's prefetch counts what it holds unacknowledged: what our consumers may still get is what is wanted.
Consumers are added, one per task wanted (so that the broker's tools show one per slot), and stay: an acknowledgement
makes room for one more task, which waits here for the next call. When tasks wait here for which nobody asks, all
consumers end, and what they brought goes back. Deliveries may arrive even after a consumer's end was confirmed: they
are ours like any other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ttg.brokers.rabbitmq.connection import AmqpConnection, Channel
from ttg.brokers.rabbitmq.publisher import Outgoing
from ttg.clock import loop_time
from ttg.errors import BrokerError

CONSUMERS_OF_ONE = 16
UNCLAIMED_SECONDS = 0.25
SHORTEST_WAIT_SECONDS = 0.05  # deliveries follow a round trip after consuming began


@dataclass(slots=True, eq=False)
class Received:
    """A message as delivered, ``at`` by the event loop's clock. ``returned`` counts how often the broker put it back on
    the queue before, because its holder died or a channel broke."""

    consumers: Consumers
    tag: int
    consumer: str
    body: bytes
    headers: dict[str, Any]
    redelivered: bool
    at: float

    @property
    def returned(self) -> int:
        broker_count = int(self.headers.get("x-delivery-count", 0)) or int(self.redelivered)
        return broker_count + int(self.headers.get("returned", 0))

    @property
    def held(self) -> bool:
        """Whether it is still ours."""
        return self.consumers.channel.closed is None and self.tag in self.consumers.outstanding

    def move_to(self, copy: Received) -> None:
        """Be ``copy`` from now on for the broker: the original leaves its queue, and makes no room for another."""
        self.consumers.cancel([self])
        self.consumers.acknowledge([self])
        self.consumers, self.tag, self.consumer, self.at = copy.consumers, copy.tag, copy.consumer, copy.at
        self.consumers.outstanding[self.tag] = self

    def again(self, queue: str, returned: int | None = None) -> Outgoing:
        """The same message, to be published once more, with its history, or as ``returned`` so often."""
        headers = {name: value for name, value in self.headers.items() if not name.startswith("x-")}
        return Outgoing(
            queue, self.body, "task", headers | {"returned": self.returned if returned is None else returned}
        )


class Consumers:
    """Consumers of one queue on one channel, and what they hold."""

    def __init__(self, channel: Channel, queue: str, consumer: str, on_unclaimed: Callable[[Consumers], None]) -> None:
        self.channel = channel
        self.queue = queue
        self.outstanding: dict[int, Received] = {}
        self._consumer = consumer
        self._consumers = 0
        self._tell_unclaimed = on_unclaimed
        self._arrived: deque[Received] = deque()
        self._bell = asyncio.Event()
        self._prefetch: dict[str, int] = {}
        self._qos: int | None = None
        self._wanted = 0
        self._growing = asyncio.Lock()
        self._watch: asyncio.TimerHandle | None = None
        channel.raw.on_any_delivery = self._on_message
        channel.on_close.append(self._on_close)
        channel.raw.add_on_cancel_callback(self._on_cancelled_by_broker)

    @classmethod
    async def on(
        cls, connection: AmqpConnection, queue: str, consumer: str, on_unclaimed: Callable[[Consumers], None]
    ) -> Consumers:
        """Consumers of ``queue`` on a new channel; ``on_unclaimed`` is called when tasks are here that nobody asks for:
        then it is time to :meth:`stop`."""
        return cls(await connection.channel(), queue, consumer, on_unclaimed)

    async def take(self, limit: int, wait_seconds: float) -> list[Received]:
        """Up to ``limit`` messages, as soon as there is one; an empty list after ``wait_seconds``.

        ``QueueGone`` when the queue was deleted; ``BrokerUnavailable`` when the channel died.
        """
        self._wanted += limit
        try:
            await self._wait_for_arrivals(max(wait_seconds, SHORTEST_WAIT_SECONDS))
        finally:
            self._wanted -= limit
            self._watch_unclaimed()
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    async def _wait_for_arrivals(self, wait_seconds: float) -> None:
        deadline = loop_time() + wait_seconds
        while True:
            self.channel.check()
            await self._grow()
            if self._arrived:
                return
            self._bell.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._bell.wait()
            except TimeoutError:
                return

    def acknowledge(self, received: Iterable[Received]) -> None:
        """Remove messages from the queue for good; those no longer ours are skipped."""
        tags = {message.tag for message in received if message.held}
        if not tags:
            return
        prefix = 0
        for tag in self.outstanding:
            if tag not in tags:
                break
            prefix = tag
        if prefix:
            self.channel.raw.basic_ack(prefix, multiple=True)
        for tag in tags:
            del self.outstanding[tag]
            if tag > prefix:
                self.channel.raw.basic_ack(tag)

    def cancel(self, received: Iterable[Received]) -> None:
        """End the consumers that hold these messages, so that acknowledging them makes room for no others."""
        for tag in {message.consumer for message in received if message.held} & self._prefetch.keys():
            del self._prefetch[tag]
            self.channel.raw.basic_cancel(tag, callback=lambda _frame: None)

    def hand_back(self, received: Iterable[Received]) -> None:
        """Return messages to the queue as if their holder was lost: the last resort when nothing can be published."""
        for message in received:
            if message.held:
                del self.outstanding[message.tag]
                self.channel.raw.basic_nack(message.tag, requeue=True)

    def forget_everything(self) -> None:
        """Nothing is ours any more: the channel closed, or the queue was deleted with what we held."""
        self.outstanding.clear()
        self._arrived.clear()
        self._prefetch.clear()
        self._bell.set()

    def drop_arrived(self) -> None:
        """Remove what has arrived and was not taken from the queue, for good."""
        self.acknowledge(self._arrived)
        self._arrived.clear()

    async def stop(self) -> list[Received]:
        """Consume no more; returns what had arrived and was not taken."""
        async with self._growing:
            tags, self._prefetch = list(self._prefetch), {}
            for tag in tags:
                if tag in self.channel.raw.consumer_tags:
                    await self.channel.call("basic_cancel", tag)
        self._bell.set()
        unclaimed, self._arrived = list(self._arrived), deque()
        return unclaimed

    async def _grow(self) -> None:
        if self._missing() <= 0:
            return
        async with self._growing:
            missing = self._missing()
            each = 1 if missing <= CONSUMERS_OF_ONE else missing
            while missing > 0:
                await self._consume(each)
                missing -= each

    def _missing(self) -> int:
        """What is wanted and neither here nor on its way. What cancelled consumers still hold counts for nobody."""
        filled = sum(message.consumer in self._prefetch for message in self.outstanding.values())
        return self._wanted - len(self._arrived) - (sum(self._prefetch.values()) - filled)

    async def _consume(self, prefetch: int) -> None:
        if prefetch != self._qos:
            await self.channel.call("basic_qos", prefetch_count=prefetch)
            self._qos = prefetch
        self._consumers += 1
        tag = f"{self._consumer}-{self._consumers}"
        self._prefetch[tag] = prefetch  # at once: should we be cancelled while waiting, it consumes all the same
        await self.channel.call("basic_consume", self.queue, self._on_message, consumer_tag=tag)

    def _watch_unclaimed(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        loop = asyncio.get_running_loop()
        self._watch = None if self._wanted else loop.call_later(UNCLAIMED_SECONDS, self._on_unclaimed)

    def _on_unclaimed(self) -> None:
        self._watch = None
        if self._arrived and not self._wanted:
            self._tell_unclaimed(self)

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        headers, tag = properties.headers or {}, method.delivery_tag
        received = Received(self, tag, method.consumer_tag, body, headers, method.redelivered, loop_time())
        self.outstanding[received.tag] = received
        self._arrived.append(received)
        self._bell.set()
        if not self._wanted and self._watch is None:
            self._watch_unclaimed()

    def _on_cancelled_by_broker(self, _frame: Any) -> None:
        """The queue was deleted, or has a new leader: then the broker believes that this channel holds what it may
        never have got, until it is closed."""
        self.forget_everything()
        self.channel.abandon()

    def _on_close(self, _error: BrokerError) -> None:
        self.forget_everything()
