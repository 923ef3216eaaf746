"""A proxy between one worker and the broker, so that its network can be cut without touching anybody else's."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ttg.errors import SettingsError

PORTS = {"redis": 6379, "amqp": 5672}
BLOCK_BYTES = 1 << 16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Forwards connections to the broker at ``url`` until :meth:`cut`. A cut connection is half-open: both ends believe
    in it, and nothing passes any more. :attr:`url` is what the worker is told instead of the broker's own address.
    """

    def __init__(self, url: str) -> None:
        self._broker = urlsplit(url)
        if self._broker.scheme not in ("unix", *PORTS):
            raise SettingsError(f"--fault network: expected redis://, unix:// or amqp://, got {self._broker.scheme}://")
        self._open = asyncio.Event()
        self._open.set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._folder: Path | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen: on a unix socket of our own for a unix socket, else on a free port of the loopback interface."""
        if self._broker.scheme == "unix":
            self._folder = Path(tempfile.mkdtemp(prefix="ttg-", dir="/tmp"))
            self._server = await asyncio.start_unix_server(self._serve, self._folder / "proxy.sock")
            self.url = f"unix://{self._folder / 'proxy.sock'}"
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.url = _moved(self._broker, self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """From now on nothing is forwarded, and nobody is told."""
        self._open.clear()

    async def close(self) -> None:
        """End all connections. Idempotent."""
        if self._server is not None:
            self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pumps.add(task := asyncio.current_task())  # type: ignore[arg-type]
        try:
            await self._open.wait()
            answers, questions = await self._connect()
            with suppress(OSError):
                await asyncio.gather(self._pump(reader, questions), self._pump(answers, writer))
        except (OSError, asyncio.CancelledError):
            writer.close()
        finally:
            self._pumps.discard(task)

    async def _connect(self) -> Streams:
        broker = self._broker
        if broker.scheme == "unix":
            return await asyncio.open_unix_connection(broker.path)
        return await asyncio.open_connection(broker.hostname, broker.port or PORTS[broker.scheme])

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(BLOCK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


def _moved(broker: SplitResult, port: int) -> str:
    login = broker.netloc.rpartition("@")[0]
    return broker._replace(netloc=f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}").geturl()
