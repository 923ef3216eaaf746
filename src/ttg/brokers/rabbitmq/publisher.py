"""Publishing with confirmations, windowed: the broker has a message when :meth:`Publisher.publish` says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pika
from pika import exceptions, spec

from ttg.brokers.rabbitmq.connection import AmqpConnection, Channel, translate
from ttg.clock import loop_time
from ttg.errors import BrokerError, BrokerFull, BrokerUnavailable

WINDOW_MESSAGES = 2_000
WINDOW_BYTES = 8 << 20
STALL_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 1 << 18
"""What was taken by the system may be on its way unseen, at this rate."""

PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and the queue it goes to. ``headers`` are what a person sees beside it in the management UI."""

    queue: str
    body: bytes
    kind: str
    headers: dict[str, Any] | None = None
    content_type: str = "application/json"


Publish = Callable[[list[Outgoing]], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Batch:
    """Messages whose confirmations are awaited together."""

    future: asyncio.Future[None]
    left: int = 0
    complete: bool = False
    returned: list[Outgoing] = field(default_factory=list)
    refused: str = ""

    def settle_one(self) -> None:
        self.left -= 1
        self.finish_if_done()

    def finish_if_done(self) -> None:
        if self.complete and self.left == 0 and not self.future.done():
            self.future.set_result(None)


@dataclass(slots=True)
class _Waiting:
    """What one queue has not confirmed, and since when it has confirmed nothing."""

    count: int = 0
    since: float = 0.0

    def begin(self) -> None:
        self.since = loop_time()

    def add(self) -> None:
        if not self.count:
            self.begin()
        self.count += 1

    def confirm(self) -> int:
        """One less; returns how many are left."""
        self.count -= 1
        self.begin()
        return self.count


class Publisher:
    """A channel in confirm mode. Dies with its channel; then everything unconfirmed raises the reason."""

    def __init__(self, connection: AmqpConnection, channel: Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._tag = 0
        self._unconfirmed: dict[int, tuple[_Batch, Outgoing]] = {}
        self._bytes = 0
        self._progress = asyncio.Event()
        self._waiting: dict[str, _Waiting] = {}
        self._unsent = 0

    @classmethod
    async def on(cls, connection: AmqpConnection) -> Publisher:
        """A publisher on a new channel of ``connection``."""
        channel = await connection.channel()
        publisher = cls(connection, channel)
        channel.on_close.append(publisher._on_close)
        channel.raw.add_on_return_callback(publisher._on_return)
        await channel.call("confirm_delivery", publisher._on_confirm)
        return publisher

    @property
    def usable(self) -> bool:
        """Whether the channel is open."""
        return self._channel.closed is None

    def post(self, message: Outgoing) -> None:
        """Publish without waiting and without caring: for events."""
        batch = _Batch(asyncio.get_running_loop().create_future())
        self._send(message, batch)

    async def publish(self, messages: Iterable[Outgoing]) -> list[Outgoing]:
        """Publish all and await the confirmations; returns the messages whose queue does not exist.

        Raises ``BrokerFull`` before anything was sent when the broker blocks publishers, ``BrokerUnavailable`` when
        the channel died or one of the queues confirmed nothing for ``STALL_SECONDS`` although the broker takes
        messages and had the time to get them: each queue confirms for itself, and one that is dead must not hide
        behind those that are well.
        """
        self._channel.check()
        if self._connection.blocked.is_set():
            raise BrokerFull(
                "RabbitMQ takes no messages at the moment: memory or disk alarm; free some, it goes on then"
            )
        batch = _Batch(asyncio.get_running_loop().create_future())
        for message in messages:
            while len(self._unconfirmed) >= WINDOW_MESSAGES or self._bytes >= WINDOW_BYTES:
                await self._wait_for_progress()
            self._send(message, batch)
        batch.complete = True
        batch.finish_if_done()
        while not batch.future.done():
            await self._wait_for_progress()
        batch.future.result()
        if batch.refused:
            raise BrokerUnavailable(f"RabbitMQ did not take a message for {batch.refused}")
        return batch.returned

    def _send(self, message: Outgoing, batch: _Batch) -> None:
        tag = self._tag + 1
        properties = pika.BasicProperties(
            content_type=message.content_type,
            headers=message.headers,
            delivery_mode=PERSISTENT,
            message_id=str(tag),
            type=message.kind,
        )
        try:
            self._channel.raw.basic_publish("", message.queue, message.body, properties, mandatory=True)
        except exceptions.AMQPError as error:
            raise translate(error) from error
        self._tag = tag
        batch.left += 1
        self._bytes += len(message.body)
        self._unconfirmed[tag] = (batch, message)
        self._waiting.setdefault(message.queue, _Waiting()).add()

    async def _wait_for_progress(self) -> None:
        self._channel.check()
        self._progress.clear()
        try:
            async with asyncio.timeout_at(self._deadline(min(waiting.since for waiting in self._waiting.values()))):
                await self._progress.wait()
        except TimeoutError:
            self._check_stalled()

    def _deadline(self, since: float) -> float:
        """Until when a queue that has confirmed nothing ``since`` then has to: a slow link is not a dead queue."""
        return since + STALL_SECONDS + self._bytes / SLOWEST_BYTES_PER_SECOND

    def _check_stalled(self) -> None:
        """Nothing stalls while the broker takes nothing, or its link still takes bytes."""
        unsent, self._unsent = self._unsent, self._connection.unsent_bytes
        if self._connection.blocked.is_set() or (self._unsent and self._unsent != unsent):
            for waiting in self._waiting.values():
                waiting.begin()
        now = loop_time()
        if stalled := sorted(name for name, waiting in self._waiting.items() if self._deadline(waiting.since) <= now):
            self._connection.abandon()  # the next one may be to another node, and whoever waits is told
            raise Stalled(stalled)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        refused = isinstance(method, spec.Basic.Nack)
        for tag in list(self._confirmed(method.delivery_tag, method.multiple)):
            batch, message = self._unconfirmed.pop(tag)
            self._bytes -= len(message.body)
            if not self._waiting[message.queue].confirm():
                del self._waiting[message.queue]
            if refused:
                batch.refused = message.queue
            batch.settle_one()
        self._progress.set()

    def _confirmed(self, tag: int, multiple: bool) -> Iterator[int]:
        if not multiple:
            yield from (tag,) if tag in self._unconfirmed else ()
            return
        for waiting in self._unconfirmed:
            if tag and waiting > tag:
                return
            yield waiting

    def _on_return(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        batch, message = self._unconfirmed[int(properties.message_id)]
        batch.returned.append(message)

    def _on_close(self, error: BrokerError) -> None:
        for batch, _ in self._unconfirmed.values():
            if not batch.future.done():
                batch.future.set_exception(type(error)(str(error)))
                batch.future.exception()
        self._unconfirmed.clear()
        self._waiting.clear()
        self._progress.set()


class Stalled(BrokerUnavailable):
    """Queues that no longer confirm what is published to them: their leader is away, or their state is lost."""

    def __init__(self, queues: list[str]) -> None:
        super().__init__(
            f"RabbitMQ has confirmed nothing for {STALL_SECONDS:.0f} s in {', '.join(queues)}: "
            "a node may be away, or fewer than half of a cluster's nodes are left (rabbitmqctl cluster_status)"
        )
        self.queues = queues
