"""What stands between clients and Redis servers at managed services: it spreads connections, and limits commands."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import hiredis

READ_BYTES = 1 << 16


class Front:
    """Leads each connection to the next of ``targets``, unix sockets, and refuses commands of too many arguments."""

    def __init__(self, targets: Sequence[str], most_arguments: int) -> None:
        self._targets = itertools.cycle(targets)
        self._most = most_arguments

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        theirs, to_server = await asyncio.open_unix_connection(next(self._targets))
        back = asyncio.ensure_future(_copy(theirs, writer))
        try:
            await self._forward(reader, writer, to_server)
        finally:
            back.cancel()
            to_server.close()
            writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        commands = hiredis.Reader()
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                commands.feed(data)
                while (words := commands.gets()) is not False:
                    if len(words) > self._most:
                        writer.write(b"-ERR max number of arguments exceeded\r\n")
                    else:
                        to_server.write(hiredis.pack_command(tuple(words)))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(READ_BYTES):
            writer.write(data)


@asynccontextmanager
async def front(*targets: str, most_arguments: int = 1 << 20) -> AsyncIterator[str]:
    """The URL of such a front while it is open; it ends with its clients."""
    ours, clients = Front(targets, most_arguments), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(asyncio.ensure_future(ours.serve(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*clients)
