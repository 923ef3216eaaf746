"""Reading stream queues: without consuming, from any offset, by any number of readers.

Whoever attaches begins with the entry that he read last, and reads the log from its start when that is not what is
there (:mod:`ttg.brokers.cursors`). A reader stays attached between two calls that continue one another, so that reading
on costs no round trip; AMQP 0.9.1 demands acknowledgements, which here only mean "send more".
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from ttg.brokers.cursors import cursor_of, is_of_another_log, offset_of
from ttg.brokers.rabbitmq.connection import AmqpConnection, Channel, QueueGone
from ttg.errors import BrokerError, BrokerUnavailable

PREFETCH = 128
PREFETCH_BYTES = 4 << 20
FIRST_PREFETCH = 4
"""A prefetch counts messages; so that large ones fill neither memory nor link, it follows their size."""

FIRST_ENTRY_SECONDS = 5.0
SHORTEST_WAIT_SECONDS = 0.2  # entries follow a round trip after attaching
IDLE_READERS = 8
BURST_SECONDS = 0.01  # the entries of one chunk arrive together
MOST_READS_OF_LAST_CHUNK = 100
MOST_LOOKS_FOR_LAST = 20

NEW_ONLY = "$"

log = logging.getLogger("ttg.broker")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One message of a stream."""

    offset: int
    headers: dict[str, Any]
    body: bytes

    @property
    def cursor(self) -> str:
        return cursor_of(self.offset, self.body)


Decoded = Callable[[list[StreamEntry]], Awaitable[list[T]]]


class StreamReader:
    """A consumer of one stream on a channel of its own."""

    def __init__(self, channel: Channel, after: int, prefetch: int) -> None:
        self._channel = channel
        self._after = after
        self._prefetch = prefetch
        self._mean_bytes = 0.0
        self.round_trip_seconds = 0.0
        self.position: str | None = None
        self._entries: deque[tuple[int, StreamEntry]] = deque()
        self._arrived = asyncio.Event()
        self._deleted = False
        channel.on_close.append(self._on_close)

    @classmethod
    async def attach(
        cls, connection: AmqpConnection, stream: str, cursor: str | None, prefetch: int = PREFETCH
    ) -> StreamReader:
        """A reader of ``stream`` after ``cursor`` (``None``: from its beginning, ``"$"``: only what is new)."""
        if not cursor or cursor == NEW_ONLY:
            return await cls._attach(connection, stream, -1, "next" if cursor else "first", prefetch)
        offset = offset_of(cursor)
        reader = await cls._attach(connection, stream, offset - 1, offset, prefetch)
        first = await reader._first()
        if first is None and await last_offset(connection, stream) >= offset:
            reader.detach()
            raise BrokerUnavailable(f"RabbitMQ did not send entry {offset} of {stream} in {FIRST_ENTRY_SECONDS:.0f} s")
        if first is None or is_of_another_log(cursor, first.cursor):
            reader.detach()
            log.warning("RabbitMQ: the log %s is another than the one read so far: reading it from its start", stream)
            return await cls._attach(connection, stream, -1, "first", prefetch)
        if first.offset == offset:
            reader.arrived(1)
        return reader

    async def _first(self) -> StreamEntry | None:
        """The entry to come next, left where it is; ``None`` if it does not come in time."""
        await self._wait(FIRST_ENTRY_SECONDS)
        self._check()
        return self._entries[0][1] if self._entries else None

    async def _wait(self, seconds: float) -> None:
        """For the next entry, at most ``seconds``, and for one that is on its way as long as that takes."""
        while not self._entries and self.usable:
            self._arrived.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
            except TimeoutError:
                if not self._channel.is_receiving:
                    return

    @classmethod
    async def attach_at(
        cls,
        connection: AmqpConnection,
        stream: str,
        where: Literal["first", "last"] | datetime,
        prefetch: int = PREFETCH,
    ) -> StreamReader:
        """A reader of ``stream`` from its first entry, its last chunk, or from about a time on."""
        return await cls._attach(connection, stream, -1, where, prefetch)

    @classmethod
    async def _attach(
        cls, connection: AmqpConnection, stream: str, after: int, offset: str | int | datetime, prefetch: int = PREFETCH
    ) -> StreamReader:
        channel = await connection.channel()
        reader = cls(channel, after, prefetch)
        channel.raw.add_on_cancel_callback(reader._on_cancelled_by_broker)
        await channel.call("basic_qos", prefetch_count=prefetch)
        began = asyncio.get_running_loop().time()
        await channel.call("basic_consume", stream, reader._on_entry, arguments={"x-stream-offset": offset})
        reader.round_trip_seconds = asyncio.get_running_loop().time() - began
        return reader

    @property
    def usable(self) -> bool:
        """Whether the channel is open and the stream there."""
        return self._channel.closed is None and not self._deleted

    @property
    def fitting_prefetch(self) -> int:
        """The prefetch that suits the size of what was read lately; the present one if that will do."""
        if not self._mean_bytes:
            return self._prefetch
        wanted = int(min(PREFETCH, max(1, PREFETCH_BYTES / self._mean_bytes)))
        return self._prefetch if wanted / 2 <= self._prefetch <= 2 * wanted else wanted

    @property
    def fits(self) -> bool:
        """Whether to read on with this reader."""
        return self.usable and self.fitting_prefetch == self._prefetch

    async def take(self, limit: int, wait_seconds: float) -> list[StreamEntry]:
        """Up to ``limit`` entries, as soon as there is one; an empty list after ``wait_seconds``."""
        if wait_seconds > 0:
            await self._wait(wait_seconds)
        if not self._entries:
            self._check()
        return self.arrived(limit)

    def _check(self) -> None:
        self._channel.check()
        if self._deleted:
            raise QueueGone("RabbitMQ: a stream of ours was deleted")

    def detach(self) -> None:
        """Close the channel."""
        self._channel.abandon()

    def arrived(self, limit: int) -> list[StreamEntry]:
        """Up to ``limit`` entries that are here already."""
        taken: list[StreamEntry] = []
        last_tag = 0
        while self._entries and len(taken) < limit:
            last_tag, entry = self._entries.popleft()
            taken.append(entry)
        if taken:
            self.position = taken[-1].cursor
        if taken and self._channel.closed is None:
            self._channel.raw.basic_ack(last_tag, multiple=True)
        return taken

    def _on_entry(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        headers = properties.headers or {}
        offset = headers.get("x-stream-offset", -1)
        if offset > self._after:
            self._after = offset
            self._mean_bytes = (3 * (self._mean_bytes or len(body)) + len(body)) / 4
            self._entries.append((method.delivery_tag, StreamEntry(offset, headers, body)))
            self._arrived.set()

    def _on_cancelled_by_broker(self, _frame: Any) -> None:
        self._deleted = True
        self._arrived.set()

    def _on_close(self, _error: BrokerError) -> None:
        self._arrived.set()


async def last_entry(connection: AmqpConnection, stream: str) -> StreamEntry | None:
    """The newest entry; ``None`` if there is none.

    Asked with a reader of the last chunk: the message count of a stream is up to five seconds behind.
    """
    for _ in range(MOST_LOOKS_FOR_LAST):
        newest = await _newest(await StreamReader.attach_at(connection, stream, "last"))
        if newest is not None or not await _has_entries(connection, stream):
            break
    return newest


async def last_offset(connection: AmqpConnection, stream: str) -> int:
    """The offset of the newest entry, -1 if there is none."""
    newest = await last_entry(connection, stream)
    return newest.offset if newest else -1


async def _has_entries(connection: AmqpConnection, stream: str) -> bool:
    """Whether the broker counts entries, seconds late: then a reader that got none in time must try again."""
    channel = await connection.channel()
    answer = await channel.call("queue_declare", stream, passive=True)
    await channel.close()
    return bool(answer.method.message_count)


async def stream_length(connection: AmqpConnection, stream: str) -> tuple[int, int]:
    """Entries of ``stream``, from the oldest kept to the newest, and how many bytes that has."""
    newest = await last_entry(connection, stream)
    if newest is None:
        return 0, 0
    reader = await StreamReader.attach_at(connection, stream, "first", prefetch=1)
    oldest = await reader.take(1, SHORTEST_WAIT_SECONDS)
    reader.detach()
    return newest.offset + 1 - (oldest[0].offset if oldest else 0), len(newest.body)


async def _newest(reader: StreamReader) -> StreamEntry | None:
    newest, longest = None, SHORTEST_WAIT_SECONDS
    for _ in range(MOST_READS_OF_LAST_CHUNK):
        entries = await reader.take(PREFETCH, longest)
        if not entries:
            break
        newest, longest = entries[-1], max(BURST_SECONDS, reader.round_trip_seconds)
    reader.detach()
    return newest


class Readers:
    """Attached readers, found again by where their caller left off."""

    def __init__(self, connection: Callable[[], Awaitable[AmqpConnection]]) -> None:
        self._connect = connection
        self._prefetch: dict[str, int] = {}
        self._idle: dict[tuple[str, str | None, str], StreamReader] = {}
        self._passed: dict[tuple[str, str], tuple[str | None, str | None]] = {}

    async def read_decoded(
        self, stream: str, after: str | None, limit: int, wait_seconds: float, decoded: Decoded[T], identity: str = ""
    ) -> list[T]:
        """What ``decoded`` makes of the entries after ``after``. Those that it makes nothing of are passed over, and
        not looked at again when the caller asks once more from the same place."""
        deadline = asyncio.get_running_loop().time() + wait_seconds
        known, start = self._passed.pop((stream, identity), (after, after))
        start = start if known == after else after
        while entries := await self.read(stream, start, limit, deadline - asyncio.get_running_loop().time(), identity):
            if found := await decoded(entries):
                return found
            start = entries[-1].cursor
        if start != after:
            self._passed[stream, identity] = (after, start)
        return []

    async def read(
        self, stream: str, after: str | None, limit: int, wait_seconds: float, identity: str = ""
    ) -> list[StreamEntry]:
        """Entries of ``stream`` after ``after``, only those of one run if its ``identity`` is given."""
        reader = self._idle.pop((stream, after, identity), None)
        if reader is None or not reader.fits:
            reader = await self._attach(stream, after, reader)
        try:
            entries = await _take_matching(reader, limit, wait_seconds, identity)
        except BaseException:
            reader.detach()
            raise
        self._keep((stream, entries[-1].cursor if entries else after, identity), reader)
        return entries

    async def _attach(self, stream: str, after: str | None, before: StreamReader | None) -> StreamReader:
        """A reader where ``before`` left off: that one is lost, or takes messages of another size than there are."""
        if before is not None and before.usable:
            self._prefetch[stream], after = before.fitting_prefetch, before.position or after
            before.detach()
        prefetch = self._prefetch.get(stream, FIRST_PREFETCH)
        return await StreamReader.attach(await self._connect(), stream, after, prefetch)

    def _keep(self, key: tuple[str, str | None, str], reader: StreamReader) -> None:
        forgotten = [self._idle.pop(key, None)]
        if len(self._idle) >= IDLE_READERS:
            forgotten.append(self._idle.pop(next(iter(self._idle))))
        self._idle[key] = reader
        for other in forgotten:
            if other is not None:
                other.detach()


async def _take_matching(reader: StreamReader, limit: int, wait_seconds: float, identity: str) -> list[StreamEntry]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max(wait_seconds, SHORTEST_WAIT_SECONDS)
    while entries := await reader.take(limit, deadline - loop.time()):
        matching = [entry for entry in entries if not identity or entry.headers.get("identity") == identity]
        if matching:
            return matching
    return []
