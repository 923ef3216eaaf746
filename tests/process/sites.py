"""Brokers that fault tests break: one interface over a Valkey server and a RabbitMQ node of the test's own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Protocol

import redis

from polling_proxy import Proxy
from rabbitmq_server import RabbitMQServer
from servers import RedisServer, valkey_program

GARBAGE = (b"", b"\xff\xfe\x00", b"not json", b'{"run":1}', b"[" * 5000, b'{"run":"r","id":"x","ranges":[[5,1]]}')
OVERSIZED = b'{"run":"r","id":"' + b"x" * (2 << 20) + b'"}'


class Site(Protocol):
    """A broker that can be broken. ``settle_marker`` is found in every request that settles a task."""

    name: str
    settle_marker: bytes

    @property
    def url(self) -> str: ...
    def url_through(self, proxy: Proxy) -> str:
        """The same broker behind a proxy."""

    def proxy(self) -> Proxy:
        """A new proxy to it."""

    def crash(self) -> None:
        """SIGKILL."""

    def restart(self) -> None:
        """Start again with what was stored; returns when it answers."""

    def lose(self, namespace: str) -> None:
        """A stranger deletes everything."""

    def fill(self) -> None:
        """It takes no more data."""

    def make_room(self) -> None:
        """It does again."""

    def strew(self, namespace: str, bodies: tuple[bytes, ...]) -> None:
        """Strangers' messages on every queue and log."""

    def count(self, queue: str) -> int:
        """Messages of a queue."""

    def close(self) -> None:
        """End it."""


class ValkeySite:
    """Valkey on a unix socket; ``options`` as for the server."""

    settle_marker = b".results"

    def __init__(self, name: str = "valkey", *options: str) -> None:
        self.name = name
        self._server = RedisServer(valkey_program(), *options).start()
        self.url = self._server.url

    def proxy(self) -> Proxy:
        return Proxy(self._server.socket)

    def url_through(self, proxy: Proxy) -> str:
        return f"redis://127.0.0.1:{proxy.port}/0"

    def crash(self) -> None:
        self._server.kill()

    def restart(self) -> None:
        self._server.start()

    def _ask(self, *words: Any) -> Any:
        with redis.Redis(unix_socket_path=str(self._server.socket)) as client:
            return client.execute_command(*words)

    def lose(self, namespace: str) -> None:
        self._ask("FLUSHALL")

    def fill(self) -> None:
        self._ask("CONFIG", "SET", "maxmemory", "1")

    def make_room(self) -> None:
        self._ask("CONFIG", "SET", "maxmemory", "0")

    def strew(self, namespace: str, bodies: tuple[bytes, ...]) -> None:
        for body in bodies:
            self._ask("XADD", f"{namespace}.tasks", "*", "run", "r", "task", body)
            self._ask("XADD", f"{namespace}.tasks", "*", "nonsense", body)
            self._ask("XADD", f"{namespace}.results", "*", "run", "r", "header", body, "payload", body)
            self._ask("XADD", f"{namespace}.events", "*", "event", body)
            self._ask("XADD", f"{namespace}.tasks.dlq", "*", "run", "r", "letter", body)
            self._ask("ZADD", f"{namespace}.tasks.retry", "1", body)
            self._ask("HSET", f"{namespace}.runs", b"stranger" + body[:8], body)

    def count(self, queue: str) -> int:
        return int(self._ask("XLEN", queue))

    def close(self) -> None:
        self._server.close()


class RabbitMQSite:
    """The RabbitMQ node of all tests of this process."""

    name = "rabbitmq"
    settle_marker = b"application/x-ttg-result"

    def __init__(self, server: RabbitMQServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        return self._server.url

    def proxy(self) -> Proxy:
        return Proxy(self._server.port)

    def url_through(self, proxy: Proxy) -> str:
        return self.url.replace(f":{self._server.port}/", f":{proxy.port}/", 1)

    def crash(self) -> None:
        asyncio.run(self._server.kill())

    def restart(self) -> None:
        asyncio.run(self._server.start())

    def lose(self, namespace: str) -> None:
        for name in ("tasks", "tasks.retry", "results", "events", "runs", "tasks.dlq"):
            self._server.delete(f"{namespace}.{name}")

    def fill(self) -> None:
        self._control("set_vm_memory_high_watermark", "absolute", "1")

    def make_room(self) -> None:
        self._control("set_vm_memory_high_watermark", "0.4")

    def _control(self, *words: str) -> None:
        asyncio.run(self._server.control(*words))

    def strew(self, namespace: str, bodies: tuple[bytes, ...]) -> None:
        for queue in ("tasks", "results", "events", "tasks.dlq", "runs"):
            for body in bodies:
                self._server.push(f"{namespace}.{queue}", body, headers={"run": "r", "state": "odd"})

    def count(self, queue: str) -> int:
        return len(self._server.contents(queue))

    def close(self) -> None:
        """The node ends with all tests."""


def report(path: str | None, **facts: Any) -> None:
    """Append what a test measured to the file that the figures in docs/failures.md are made from."""
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")
