"""A TCP proxy in a thread that misbehaves on request: stops forwarding, delays, or swallows the reply to a request."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path

CHUNK_BYTES = 1 << 16


class Proxy:
    """Forwards ``127.0.0.1:port`` to a unix socket or to a local port.

    ``open_road`` is cleared to freeze: nothing is forwarded, no connection closes, as in a half-open network. The next
    ``swallow`` requests that contain ``marker`` are executed, but their connections end before the reply.
    """

    def __init__(self, target: Path | int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._open_road = asyncio.Event()
        self._open_road.set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.delay_seconds = 0.0
        self.marker = b""
        self.swallow = 0
        self.swallowed = 0
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._on_client, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._cut_everything())
        self._loop.close()

    async def _cut_everything(self) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()

    def freeze(self) -> None:
        """From now on nothing gets through."""
        self._loop.call_soon_threadsafe(self._open_road.clear)

    def thaw(self) -> None:
        """What was held back goes on."""
        self._loop.call_soon_threadsafe(self._open_road.set)

    def close(self) -> None:
        """End it, and all connections through it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._target, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(self._target)
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers += [writer, far_writer]
        doomed = asyncio.Event()
        for source, sink, is_request in ((reader, far_writer, True), (far_reader, writer, False)):
            pipe = self._loop.create_task(self._pipe(source, sink, doomed, is_request))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, doomed: asyncio.Event, is_request: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                await self._open_road.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if is_request and self.swallow and self.marker in data:
                    self.swallow -= 1
                    doomed.set()
                if not is_request and doomed.is_set():
                    self.swallowed += 1
                    break
                sink.write(data)
                await sink.drain()
        sink.close()
