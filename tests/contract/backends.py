"""The brokers that the contract suite runs over, and what a test may do to them behind TTG's back.

A new backend is a subclass of :class:`Backend` with a line in ``tools.BROKERS``; the tests stay as they are.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis

from polling_proxy import Proxy
from rabbitmq_server import RabbitMQServer
from servers import RedisServer
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig
from ttg.brokers.memory import MemoryServer

VICTIM = Path(__file__).parent / "victim.py"
LEASE_SECONDS = 1.0


class Clients(Protocol):
    def __call__(self, consumer: str, lease_seconds: float = ...) -> Awaitable[Broker]:
        """An opened client, closed after the test."""


class Backend(ABC):
    """One kind of broker, running. Queues go by their suffix: ``tasks``, ``tasks.retry``, ``results``, ``events``.

    ``fences``: a late settle leaves no trace (base.py: RabbitMQ cannot fence a publish). ``lease_expires``: a consumer
    whose connection lives but that does not renew loses its tasks by the clock (on RabbitMQ the channel is the lease).
    ``trims``: collected results leave when they are trimmed (RabbitMQ's streams retire by themselves).
    """

    fences = True
    lease_expires = True
    trims = True
    url: str

    def client(self, config: BrokerConfig, consumer: str) -> Broker:
        """A client, not opened."""
        return connect(replace(config, url=self.url), consumer)

    @asynccontextmanager
    async def victim(
        self, config: BrokerConfig, name: str, most: int = 10
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A consumer in a process of its own that holds what was on the queue, ``most`` tasks of it; kill it."""
        numbers = map(str, (config.lease_seconds, most, config.heartbeat_seconds))
        command = (str(VICTIM), self.url, config.namespace, name, *numbers)
        process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            assert int(await process.stdout.readline()) > 0
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def kill_holder(self, config: BrokerConfig, name: str) -> None:
        """Let a consumer take what is on the queue, and kill it with SIGKILL."""
        async with self.victim(config, name):
            pass

    def proxy(self) -> tuple[Proxy, str]:
        """A link to the server, and the URL of its other end."""
        pytest.skip("there is no link to a broker in this process")

    @abstractmethod
    async def crash(self) -> None:
        """Kill the server as hard as can be."""

    @abstractmethod
    async def start_again(self) -> None:
        """Start the killed server with what it had stored."""

    @abstractmethod
    async def push(self, namespace: str, queue: str, body: bytes) -> None:
        """Put something on a queue that TTG did not make."""

    @abstractmethod
    async def plant_foreign(self, namespace: str) -> None:
        """Add data of other programs, with names as close to TTG's as can be."""

    @abstractmethod
    async def foreign(self, namespace: str) -> Any:
        """All of the foreign data, comparable."""

    @abstractmethod
    def close(self) -> None:
        """End the server."""


class MemoryBackend(Backend):
    """No server at all."""

    def __init__(self) -> None:
        self.url = "memory://contract"
        self.server = MemoryServer.named(self.url)

    async def kill_holder(self, config: BrokerConfig, name: str) -> None:
        holder = self.client(config, name)
        assert await holder.lease(10, 1.0)
        self.server.drop_connection(name)

    async def crash(self) -> None:
        self.server.stop()

    async def start_again(self) -> None:
        self.server.start()

    async def push(self, namespace: str, queue: str, body: bytes) -> None:
        here, bells = self.server.namespace(namespace), self.server.bells(namespace)
        if queue == "tasks":
            here.add_task(body)
            bells.tasks.ring()
        elif queue == "tasks.retry":
            here.add_retry(body, 0.0)
        elif queue == "results":
            here.results.append(body, "r", b"")
        else:
            here.events.append(body)

    async def plant_foreign(self, namespace: str) -> None:
        self.server.namespace(namespace + "x").add_task(b"not yours")

    async def foreign(self, namespace: str) -> Any:
        return [task.body for task in self.server.namespace(namespace + "x").tasks.values()]

    def close(self) -> None:
        self.server.stop()


class RedisBackend(Backend):
    """A private Redis or Valkey server."""

    def __init__(self, program: str) -> None:
        self.server = RedisServer(program).start()
        self.url = self.server.url
        self.stranger = redis.Redis.from_url(self.url)

    def proxy(self) -> tuple[Proxy, str]:
        proxy = Proxy(self.server.socket)
        return proxy, f"redis://127.0.0.1:{proxy.port}"

    async def crash(self) -> None:
        self.server.kill()

    async def start_again(self) -> None:
        self.server.start()

    async def push(self, namespace: str, queue: str, body: bytes) -> None:
        key = f"{namespace}.{queue}"
        if queue == "tasks.retry":
            self.stranger.zadd(key, {body: 0})
        else:
            names = {"tasks": "task", "results": "header", "events": "event"}
            self.stranger.xadd(key, {"run": "r", names[queue]: body})

    async def plant_foreign(self, namespace: str) -> None:
        self.stranger.set("someone", "else")
        self.stranger.set(f"{namespace}.tasks.backup", "precious")
        self.stranger.xadd(f"{namespace}x.tasks", {"task": "not yours"})
        self.stranger.rpush(f"{namespace}.runs.old", "1", "2")

    async def foreign(self, namespace: str) -> Any:
        names = ("someone", f"{namespace}.tasks.backup", f"{namespace}x.tasks", f"{namespace}.runs.old")
        return {name: self.stranger.dump(name) for name in names}

    def close(self) -> None:
        self.stranger.close()
        self.server.close()


class RabbitMQBackend(Backend):
    """The private RabbitMQ node of all tests of this process."""

    fences = False
    lease_expires = False
    trims = False

    def __init__(self, server: RabbitMQServer, queue_type: str = "quorum") -> None:
        self.server = server
        self.url = self.server.url
        self.queue_type = queue_type

    def client(self, config: BrokerConfig, consumer: str) -> Broker:
        return super().client(replace(config, queue_type=self.queue_type), consumer)

    def proxy(self) -> tuple[Proxy, str]:
        proxy = Proxy(self.server.port)
        return proxy, self.url.replace(f":{self.server.port}/", f":{proxy.port}/")

    async def crash(self) -> None:
        await self.server.kill()

    async def start_again(self) -> None:
        await self.server.start()

    async def push(self, namespace: str, queue: str, body: bytes) -> None:
        self.server.push(f"{namespace}.{queue}", body, headers={"run": "r"})

    async def plant_foreign(self, namespace: str) -> None:
        for queue in self._foreign_queues(namespace):
            self.server.create(queue, b"not yours", b"precious")

    async def foreign(self, namespace: str) -> Any:
        return {queue: self.server.contents(queue) for queue in self._foreign_queues(namespace)}

    @staticmethod
    def _foreign_queues(namespace: str) -> tuple[str, ...]:
        return (f"{namespace}x.tasks", f"{namespace}.tasks.backup", f"{namespace}.runs.old", "someone")

    def close(self) -> None:
        """The node ends with all tests."""
