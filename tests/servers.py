"""Private servers for tests: on unix sockets or free loopback ports, in folders of their own, ended with the tests."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools import need_broker, need_program
from ttg.brokers.base import BrokerConfig
from ttg.brokers.embedded import find_server
from ttg.brokers.redis.keys import Keys
from ttg.brokers.redis.pool import Pool
from waiting import until


class RedisServer:
    """A Redis or Valkey server on a unix socket, appending to a file, that can be killed and started again.

    ``inside``: what runs it on another host; see :meth:`network.Network.inside`.
    """

    def __init__(self, program: str, *options: str, inside: tuple[str, ...] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ttg-test-"))
        self.socket = self.folder / "socket"
        self._command = [*inside, program, *self._settings(), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def _settings(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "logfile": str(self.folder / "log"),
            "save": "",
            "appendonly": "yes",
        }
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> RedisServer:
        """Start it; returns when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until(self._answer, lambda answer: answer[:5] in (b"+PONG", b"-NOAU"))
        return self

    def _answer(self) -> bytes:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.socket))
            line.sendall(b"PING\r\n")
            return line.recv(64)
        return b""

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
        self._process = None

    def close(self) -> None:
        """End it and remove its folder."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self.folder)


def valkey_program() -> str:
    """The Valkey that TTG would embed."""
    need_broker("valkey")
    return find_server()


def redis_program() -> str:
    """The Redis (not Valkey) on PATH."""
    need_broker("redis")
    return need_program("redis-server", install="redis-server")


def ask(url: str, *words: str | bytes) -> Any:
    """A server's raw reply to one command of another program."""

    async def command() -> Any:
        pool = Pool(BrokerConfig(url), Keys("test"))
        try:
            return await pool.command(*words)
        finally:
            await pool.close()

    return asyncio.run(command())
