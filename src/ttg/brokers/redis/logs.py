"""Reading logs from an entry on, and noticing that a log is no longer the one that was read.

Ids are times of the server's clock. On one server whatever is added is later than what was read, even to a log that was
deleted and made again. After a failover it may not be: what the new server had not got yet is lost, and if its clock is
behind, what is added next has ids that are lower than those that were read, or the same. So who comes to a server by a
new connection looks first whether the entry that was read last is there. One that was dropped here proves nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from ttg.brokers.redis.keys import Key
from ttg.brokers.redis.pool import BLOCK_SECONDS, Pool
from ttg.clock import loop_time

Entry = tuple[bytes, list[bytes]]

LEAST_BYTES, MOST_BYTES = 256 << 10, 4 << 20
SLOW_SECONDS = 1.0

BEGINNING, NEW_ONLY = "0-0", "$"

log = logging.getLogger("ttg.broker")


class PageSize:
    """How many bytes to ask for: few at first, more while pages are full and come soon, fewer when they take long."""

    def __init__(self) -> None:
        self.bytes = LEAST_BYTES

    def saw(self, size: int, seconds: float) -> None:
        """A page of ``size`` bytes took ``seconds``."""
        if seconds > SLOW_SECONDS:
            self.bytes = max(LEAST_BYTES, self.bytes // 2)
        elif size >= self.bytes:
            self.bytes = min(MOST_BYTES, 2 * self.bytes)


async def read_page(pool: Pool, key: Key, cursor: str, count: int, most_bytes: int) -> list[Entry]:
    """Entries behind ``cursor``: up to ``count``, and no more once they are ``most_bytes`` together. A command that
    asks for entries by their number brings as many as there are, of any size."""
    page: list[Entry] = await pool.script("read_page", (key,), (cursor, count, most_bytes))
    return page


class LogReader:
    """Of one log, for one client. ``on_replaced``: it is another log now, and nothing that was known of it holds.
    ``large``: entries may be, and pages are bounded in bytes."""

    def __init__(
        self,
        pool: Pool,
        key: Callable[[], Key],
        on_replaced: Callable[[], None] = lambda: None,
        *,
        large: bool = False,
    ) -> None:
        self._pool = pool
        self._key = key
        self._size = PageSize() if large else None
        self._connections = 0
        self._last: Entry | None = None
        self._dropped = (0, 0)
        self._instead = ("", "")
        self._on_replaced = on_replaced

    async def pages(self, cursor: str, limit: int, wait_seconds: float) -> AsyncIterator[list[Entry]]:
        """Up to ``limit`` entries each, behind ``cursor``, until ``wait_seconds`` are over; from the beginning if the
        log is not the one any more that ``cursor`` is of."""
        deadline = loop_time() + wait_seconds
        cursor = await self._place_behind(cursor)
        while True:
            page = await self._page(cursor, limit, max(0.0, deadline - loop_time()))
            if page:
                cursor, self._last, self._instead = page[-1][0].decode(), page[-1], ("", "")
                yield page
            elif loop_time() >= deadline:
                return

    async def _page(self, cursor: str, limit: int, wait_seconds: float) -> list[Entry]:
        """What is there; else what comes next, as soon as it does. That may be large, so it is one entry."""
        if self._size is not None:
            began = loop_time()
            if page := await read_page(self._pool, self._key(), cursor, limit, self._size.bytes):
                self._size.saw(sum(sum(map(len, fields)) for _, fields in page), loop_time() - began)
                return page
        count = limit if self._size is None else 1
        words = ("XREAD", "COUNT", count, *block(min(wait_seconds, BLOCK_SECONDS)), "STREAMS", self._key(), cursor)
        return entries(await self._pool.command(*words))

    def dropped(self, entry_id: str) -> None:
        """Entries up to this one were removed by us."""
        self._dropped = place(entry_id)

    async def end(self) -> str:
        """The id of the newest entry; empty if there is none."""
        return (await self._find("+"))[0]

    async def _place_behind(self, cursor: str) -> str:
        if cursor in (BEGINNING, NEW_ONLY):
            return cursor
        if self._connections != (connections := self._pool.connections):
            if await self._is_of_another_log(cursor):
                log.warning("the log %s is another than the one read so far: reading it from its start", self._key())
                self._instead, self._dropped = (cursor, BEGINNING), (0, 0)
                self._on_replaced()
            self._connections = connections
        read_before, instead = self._instead
        return instead if read_before == cursor else cursor

    async def _is_of_another_log(self, cursor: str) -> bool:
        if place(cursor) <= self._dropped:
            return False
        found, checksum = await self._find(cursor)
        if found == cursor and self._last is not None and self._last[0].decode() == cursor:
            return checksum != _checksum(self._last[1])
        return place(found) < place(cursor)

    async def _find(self, entry_id: str) -> tuple[str, str]:
        found, checksum = await self._pool.script("find_entry", (self._key(),), (entry_id,))
        return found.decode(), checksum.decode()


def place(entry_id: str) -> tuple[int, int]:
    """An id as something that can be compared."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds or 0), int(number or 0)


def entries(reply: list[Any] | None) -> list[Entry]:
    """Entries of the one stream that was read; those deleted meanwhile have no fields."""
    return [entry for entry in reply[0][1] if entry[1] is not None] if reply else []


def block(seconds: float) -> tuple[str | int, ...]:
    """The words of a command that waits so long for entries."""
    # BLOCK 0 would wait for ever.
    return ("BLOCK", max(1, int(seconds * 1000))) if seconds > 0 else ()


def _checksum(fields: list[bytes]) -> str:
    values = (value for name, value in zip(fields[::2], fields[1::2], strict=True) if name != b"payload")
    return hashlib.sha1(b"".join(values), usedforsecurity=False).hexdigest()
