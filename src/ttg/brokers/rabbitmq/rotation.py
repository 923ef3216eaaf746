"""Looking into a queue and taking messages out of its middle, which AMQP has no verb for.

Peeking takes everything unacknowledged and gives it back by closing the channel: the broker restores the order.
Rotating passes each message once through: what stays is published again at the end, confirmed, and only then
acknowledged at the front. After one full turn the order is what it was; a crash on the way can double a message, never
lose one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ttg.brokers.rabbitmq.link import Channel, Link
from ttg.brokers.rabbitmq.publisher import Letter
from ttg.brokers.rabbitmq.topology import inspect_queue
from ttg.errors import BrokerError

LARGEST_PREFETCH = 65_535
ROTATED_AT_ONCE = 200
RESTORING_POLL_SECONDS = 0.005
RESTORING_POLLS = 200
QUIET_SECONDS = 1.0  # the queue is shorter than it said, or somebody else consumes it


@dataclass(frozen=True, slots=True)
class Seen:
    """A message under inspection."""

    tag: int
    kind: str
    headers: dict[str, Any]
    body: bytes
    content_type: str

    def again(self, queue: str) -> Letter:
        """The same message, to be published once more."""
        headers = {name: value for name, value in self.headers.items() if not name.startswith("x-")}
        return Letter(queue, self.body, self.kind, headers, self.content_type)


Publish = Callable[[list[Letter]], Awaitable[None]]


async def peek(link: Link, queue: str, wanted: Callable[[Seen], bool], limit: int) -> list[Seen]:
    """Up to ``limit`` messages that are ``wanted``, oldest first; all of them stay where they are."""
    found: list[Seen] = []
    ready, left = await _lengths(link, queue)
    if not left:
        return found
    async with _browsing(link, queue, min(left, LARGEST_PREFETCH)) as (_, next_message):
        while left and len(found) < limit and (seen := await next_message()):
            left -= 1
            if wanted(seen):
                found.append(seen)
    await _wait_until_restored(link, queue, ready)
    return found


async def _lengths(link: Link, queue: str) -> tuple[int, int]:
    """Ready messages now, and at most when another reader, whose turn it is, gives back what it looks at."""
    ready, consumers = await inspect_queue(link, queue) or (0, 0)
    return ready, LARGEST_PREFETCH if consumers else ready


async def _wait_until_restored(link: Link, queue: str, ready: int) -> None:
    """The broker gives messages back some time after it closed a channel."""
    for _ in range(RESTORING_POLLS):
        if (await _lengths(link, queue))[0] >= ready:
            return
        await asyncio.sleep(RESTORING_POLL_SECONDS)


async def _ready_without_readers(link: Link, queue: str) -> int:
    """Ready messages, after those who look into the queue had time to finish."""
    ready = 0
    for _ in range(RESTORING_POLLS):
        ready, most = await _lengths(link, queue)
        if most == ready:
            break
        await asyncio.sleep(RESTORING_POLL_SECONDS)
    return ready


async def rotate(link: Link, queue: str, unwanted: Callable[[Seen], bool], publish: Publish) -> int:
    """Take the unwanted messages out of ``queue``; returns how many."""
    removed, left = 0, await _ready_without_readers(link, queue)
    if not left:
        return removed
    async with _browsing(link, queue, ROTATED_AT_ONCE) as (channel, next_message):
        while left > 0:
            batch: list[Seen] = []
            while len(batch) < min(left, ROTATED_AT_ONCE) and (seen := await next_message()):
                batch.append(seen)
            if not batch:
                break
            kept = [seen.again(queue) for seen in batch if not unwanted(seen)]
            await publish(kept)
            channel.raw.basic_ack(batch[-1].tag, multiple=True)
            left -= len(batch)
            removed += len(batch) - len(kept)
    return removed


@asynccontextmanager
async def _browsing(
    link: Link, queue: str, prefetch: int
) -> AsyncIterator[tuple[Channel, Callable[[], Awaitable[Seen | None]]]]:
    channel = await link.channel()
    arrived: asyncio.Queue[Seen | BrokerError] = asyncio.Queue()
    channel.on_close.append(arrived.put_nowait)

    def on_message(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
        kind, content_type = properties.type or "", properties.content_type or ""
        arrived.put_nowait(Seen(method.delivery_tag, kind, properties.headers or {}, body, content_type))

    async def next_message() -> Seen | None:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                seen = await arrived.get()
        except TimeoutError:
            return None
        if isinstance(seen, BrokerError):
            raise seen
        return seen

    try:
        await channel.call("basic_qos", prefetch_count=prefetch)
        await channel.call("basic_consume", queue, on_message)
        yield channel, next_message
    finally:
        await channel.close()
