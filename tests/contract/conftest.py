"""Every contract test runs over every backend, in a namespace of its own, and leaves nothing behind in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol
from uuid import uuid4

import pytest
from backends import Backend, MemoryBackend, RabbitMQBackend, RedisBackend

from rabbitmq_server import installed
from servers import redis_program, valkey_program
from ttg.brokers.base import Broker, BrokerConfig

LEASE_SECONDS = 1.0


def redis_backend() -> Backend:
    program = redis_program()
    if program is None:
        pytest.skip("no redis-server on PATH")
    return RedisBackend(program)


def rabbitmq_backend() -> Backend:
    if not installed():
        pytest.skip("no rabbitmq-server on PATH")
    return RabbitMQBackend()


BACKENDS: dict[str, Callable[[], Backend]] = {
    "memory": MemoryBackend,
    "valkey": lambda: RedisBackend(valkey_program()),
    "redis": redis_backend,
    "rabbitmq": rabbitmq_backend,
}


class Clients(Protocol):
    def __call__(self, consumer: str, lease_seconds: float = ...) -> Awaitable[Broker]:
        """An opened client, closed after the test."""


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = BACKENDS[request.param]()
    yield backend
    backend.close()


@pytest.fixture
def config(backend: Backend) -> BrokerConfig:
    return BrokerConfig(backend.url, f"t{uuid4().hex[:8]}", lease_seconds=LEASE_SECONDS, retry_delay_ms=300)


@pytest.fixture
async def clients(backend: Backend, config: BrokerConfig) -> AsyncIterator[Clients]:
    opened: list[Broker] = []

    async def client(consumer: str, lease_seconds: float = LEASE_SECONDS) -> Broker:
        mine = BrokerConfig(
            config.url, config.namespace, lease_seconds=lease_seconds, retry_delay_ms=config.retry_delay_ms
        )
        broker = backend.client(mine, consumer)
        opened.append(broker)
        await broker.open()
        return broker

    yield client
    if opened:
        await opened[0].purge()
    for broker in opened:
        await broker.close()


@pytest.fixture
async def broker(clients: Clients) -> Broker:
    """One client with a lease that no test outlives."""
    return await clients("worker", lease_seconds=60.0)
