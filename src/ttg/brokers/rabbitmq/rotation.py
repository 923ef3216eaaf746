"""Looking into a queue and taking messages out of its middle, which AMQP has no verb for.

Peeking takes everything unacknowledged and gives it back by closing the channel: the broker restores the order.
Rotating passes each message once through: what stays is published again at the end, confirmed, and only then
acknowledged at the front. After one full turn the order is what it was; a crash on the way can double a message, never
lose one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ttg.brokers.rabbitmq.connection import AmqpConnection, Channel
from ttg.brokers.rabbitmq.publisher import Outgoing, Publish
from ttg.brokers.rabbitmq.topology import inspect_queue
from ttg.errors import BrokerError

LARGEST_PREFETCH = 65_535
ROTATED_AT_ONCE = 200
RESTORING_POLL_SECONDS = 0.005
RESTORING_POLLS = 200
TURN_SECONDS = 0.02
QUIET_SECONDS = 1.0  # the queue is shorter than it said, or somebody else consumes it


@dataclass(frozen=True, slots=True)
class Seen:
    """A message under inspection."""

    tag: int
    kind: str
    headers: dict[str, Any]
    body: bytes
    content_type: str

    def again(self, queue: str) -> Outgoing:
        """The same message, to be published once more."""
        headers = {name: value for name, value in self.headers.items() if not name.startswith("x-")}
        return Outgoing(queue, self.body, self.kind, headers, self.content_type)


@asynccontextmanager
async def turn(connection: AmqpConnection, queue: str) -> AsyncIterator[None]:
    """Have ``queue`` for oneself among all readers, or ``QueueBusy``.

    The lock is a queue that belongs to our connection, and so ends with it. (Quorum queues ignore exclusive consumers;
    with a single active consumer the management UI could not get messages from them.)
    """
    lock = f"{queue}.lock"
    channel = await connection.channel()
    await channel.call("queue_declare", lock, exclusive=True)
    try:
        yield
    finally:
        await channel.call("queue_delete", lock)
        await channel.close()


async def peek(connection: AmqpConnection, queue: str, wanted: Callable[[Seen], bool], limit: int) -> list[Seen]:
    """Up to ``limit`` messages that are ``wanted``, oldest first; all of them stay where they are."""
    found: list[Seen] = []
    ready, others = await inspect_queue(connection, queue) or (0, 0)
    if not ready:
        return found
    left = min(ready, LARGEST_PREFETCH)
    async with _browsing(connection, queue, left) as browser:
        while left and len(found) < limit and (seen := await browser.next()):
            left -= 1
            if wanted(seen):
                found.append(seen)
    if not others:
        await _wait_until_restored(connection, queue, ready)
    return found


async def _wait_until_restored(connection: AmqpConnection, queue: str, ready: int) -> None:
    """The broker gives messages back some time after it closed a channel, and counts our consumer until then."""
    for _ in range(RESTORING_POLLS):
        now, _ = await inspect_queue(connection, queue) or (ready, 0)
        if now >= ready:
            return
        await asyncio.sleep(RESTORING_POLL_SECONDS)


async def rotate(connection: AmqpConnection, queue: str, unwanted: Callable[[Seen], bool], publish: Publish) -> int:
    """Take the unwanted messages out of ``queue``; returns how many."""
    removed, (left, _) = 0, await inspect_queue(connection, queue) or (0, 0)
    if not left:
        return removed
    async with _browsing(connection, queue, ROTATED_AT_ONCE) as browser:
        while batch := await browser.next_batch(min(left, ROTATED_AT_ONCE)):
            kept = [seen.again(queue) for seen in batch if not unwanted(seen)]
            await publish(kept)
            browser.channel.check()
            browser.channel.raw.basic_ack(batch[-1].tag, multiple=True)
            left -= len(batch)
            removed += len(batch) - len(kept)
    return removed


class _Browser:
    """A consumer that looks at messages before deciding what becomes of them."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._arrived: asyncio.Queue[Seen | BrokerError] = asyncio.Queue()
        channel.on_close.append(self._arrived.put_nowait)

    def on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        kind, content_type = properties.type or "", properties.content_type or ""
        self._arrived.put_nowait(Seen(method.delivery_tag, kind, properties.headers or {}, body, content_type))

    async def next(self) -> Seen | None:
        """The next message; ``None`` when there is none after all."""
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                seen = await self._arrived.get()
        except TimeoutError:
            return None
        if isinstance(seen, BrokerError):
            raise seen
        return seen

    async def next_batch(self, size: int) -> list[Seen]:
        """Up to ``size`` messages."""
        batch: list[Seen] = []
        while len(batch) < size and (seen := await self.next()):
            batch.append(seen)
        return batch


@asynccontextmanager
async def _browsing(connection: AmqpConnection, queue: str, prefetch: int) -> AsyncIterator[_Browser]:
    channel = await connection.channel()
    browser = _Browser(channel)
    try:
        await channel.call("basic_qos", prefetch_count=prefetch)
        await channel.call("basic_consume", queue, browser.on_message)
        yield browser
    finally:
        await channel.close()
