"""Every contract test runs over every backend, in a namespace of its own, and leaves nothing behind in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from backends import LEASE_SECONDS, Backend, Clients, MemoryBackend, RabbitMQBackend, RedisBackend

from servers import redis_program, valkey_program
from tools import BROKERS, need_broker
from ttg.brokers.base import Broker, BrokerConfig


@pytest.fixture(scope="session", params=BROKERS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    need_broker(request.param)
    backend = _backend(request)
    yield backend
    backend.close()


def _backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "memory":
        return MemoryBackend()
    if request.param == "rabbitmq":
        return RabbitMQBackend(request.getfixturevalue("rabbitmq"))
    return RedisBackend(valkey_program() if request.param == "valkey" else redis_program())


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
