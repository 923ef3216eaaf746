"""A link that takes bytes at once and passes them on slowly, as proxies and networks with large buffers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from servers import RedisServer, valkey_program
from ttg.brokers.base import BrokerConfig
from ttg.brokers.redis.keys import Keys
from ttg.brokers.redis.pool import Pool
from ttg.errors import BrokerUnavailable

CONNECT_SECONDS = 1.5  # so a connection without progress is given up after 2.5 s
HELD_SECONDS = 5.0


@asynccontextmanager
async def holding_link(server: RedisServer, more_than: int) -> AsyncIterator[str]:
    """The URL of a link to ``server`` that keeps the next ``more_than`` bytes and all behind them for some seconds."""
    loop = asyncio.get_running_loop()

    async def up(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        taken = 0
        while data := await source.read(1 << 20):
            taken += len(data)
            if taken > more_than:
                loop.call_later(HELD_SECONDS, sink.write, data)
            else:
                sink.write(data)

    async def down(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            sink.write(data)

    async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, there = await asyncio.open_unix_connection(str(server.socket))
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(up(reader, there), down(theirs, writer))
        writer.close()
        there.close()

    link = await asyncio.start_server(on_connect, "127.0.0.1", limit=1 << 22)
    try:
        yield f"redis://127.0.0.1:{link.sockets[0].getsockname()[1]}"
    finally:
        link.close()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer(valkey_program()).start()
    yield server
    server.close()


async def test_a_large_command_may_be_on_its_way_unseen(server: RedisServer) -> None:
    async with holding_link(server, 1 << 10) as url:
        pool = Pool(BrokerConfig(url, connect_timeout_seconds=CONNECT_SECONDS), Keys("ttg"))
        assert await pool.command("SET", "large", bytes(1 << 20)) == b"OK"
        await pool.close()


async def test_a_small_command_is_given_up_soon(server: RedisServer) -> None:
    async with holding_link(server, 1 << 10) as url:
        pool = Pool(BrokerConfig(url, connect_timeout_seconds=CONNECT_SECONDS), Keys("ttg"))
        with pytest.raises(BrokerUnavailable, match="no answer within"):
            await pool.command("SET", "small", bytes(2 << 10))
        await pool.close()
