"""How often a task was handed out is known after any number of deaths: it tells a task that kills its workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from backends import Backend, Clients, RabbitMQBackend
from making import task

from rabbitmq_server import RabbitMQServer
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig, Delivery
from waiting import eventually


async def leased(broker: Broker) -> Delivery:
    """The one task there is."""
    (delivery,) = await eventually(lambda: broker.lease(1, 1.0))
    return delivery


async def test_a_task_remembers_every_worker_that_was_lost_with_it(
    backend: Backend, clients: Clients, config: BrokerConfig
) -> None:
    broker = await clients("last", lease_seconds=60.0)
    await broker.submit([task()])
    for name in ("first", "second", "third"):
        await backend.kill_holder(BrokerConfig(config.url, config.namespace, lease_seconds=60.0), name)
    assert (await leased(broker)).deliveries == 4


async def test_on_rabbitmq_it_is_remembered_by_a_consumer_that_did_not_want_it(rabbitmq: RabbitMQServer) -> None:
    """RabbitMQ pushes: what nobody asked for is published again, and has to bring its history along."""
    backend = RabbitMQBackend(rabbitmq)
    config = BrokerConfig(backend.url, f"t{uuid4().hex[:8]}")
    async with open_broker(config, "one") as one, open_broker(config, "other") as other:
        await one.submit([task(1)])
        async with backend.victim(config, "victim", most=1):
            await one.submit([task(0)])
            (held,) = await one.lease(2, 5.0)  # there is room for one more
            assert held.task.id == "t0"
        delivery = await leased(other)
        assert (delivery.task.id, delivery.deliveries) == ("t1", 2)
        await other.purge()


@asynccontextmanager
async def open_broker(config: BrokerConfig, name: str) -> AsyncIterator[Broker]:
    broker = connect(config, name)
    await broker.open()
    yield broker
    await broker.close()
