"""How often a task was handed out is known after any number of deaths: it tells a task that kills its workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import uuid4

from backends import Backend, RabbitMQBackend
from making import done, task

from rabbitmq_server import RabbitMQServer
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig, Delivery
from ttg.clock import unix_time
from ttg.messages import BrokerTrouble, RunRecord, WorkerLost, WorkerStopped
from waiting import eventually


async def leased(broker: Broker) -> Delivery:
    """The one task there is."""
    (delivery,) = await eventually(lambda: broker.lease(1, 1.0))
    return delivery


async def test_a_task_remembers_every_worker_that_was_lost_with_it(backend: Backend, config: BrokerConfig) -> None:
    """RabbitMQ does not say whose a task was: the first holder here had no time to say so, and is not counted."""
    config = replace(config, lease_seconds=60.0, heartbeat_seconds=0.5)
    last = backend.client(config, "last")
    await last.open()
    await last.submit([task()])
    for name in ("first", "second", "third"):
        await backend.kill_holder(config, name)
    assert (await leased(last)).deliveries == (3 if isinstance(backend, RabbitMQBackend) else 4)
    await last.close()


async def test_on_rabbitmq_only_a_worker_that_fell_silent_counts_as_lost(rabbitmq: RabbitMQServer) -> None:
    """Tasks come back for many reasons: here again and again, from a worker that lives and one that took its leave."""
    config = BrokerConfig(rabbitmq.url, f"t{uuid4().hex[:8]}", heartbeat_seconds=0.5)
    async with open_broker(config, "one") as one, open_broker(config, "two") as two:
        await one.submit([task()])
        for holder in (one, two, one, two):
            delivery = await leased(holder)
            delivery.token.consumers.hand_back([delivery.token])
            await holder.purge(RunRecord(run="r", identity="none"), dry_run=True)  # ends its consumers
        await one.publish_events([farewell("one")])
        async with open_broker(config, "last") as last, beating(two):
            assert (await leased(last)).deliveries == 1
            await last.purge()


async def test_on_rabbitmq_what_nobody_asked_for_goes_back_unblamed(rabbitmq: RabbitMQServer) -> None:
    backend = RabbitMQBackend(rabbitmq)
    config = BrokerConfig(backend.url, f"t{uuid4().hex[:8]}")
    async with open_broker(config, "one") as one, open_broker(config, "other") as other:
        for number in range(4):
            await one.submit([task(2 * number)])
            (held,) = await one.lease(2, 5.0)  # there is room for one more
            await one.submit([task(2 * number + 1)])
            (delivery,) = await eventually(lambda: other.lease(1, 1.0))
            assert delivery.deliveries == 1
            await one.settle([done(held)])
            await other.settle([done(delivery)])
        events = [event for _, event in await other.read_events(None, 1000, 0.5)]
        assert not [event for event in events if isinstance(event, WorkerLost)]
        await other.purge()


async def test_on_rabbitmq_what_is_settled_while_its_channel_closes_is_lost_and_no_more(
    rabbitmq: RabbitMQServer,
) -> None:
    """A frozen node does not answer that it closes: until then a channel is neither open nor closed."""
    config = BrokerConfig(RabbitMQBackend(rabbitmq).url, f"t{uuid4().hex[:8]}")
    async with open_broker(config, "one") as one, open_broker(config, "other") as other:
        await one.submit([task()])
        held = await leased(one)
        held.token.consumers.channel.abandon()
        assert await one.settle([done(held)]) == [False]
        delivery = await leased(other)
        assert await other.settle([done(delivery)]) == [True]
        await other.purge()


def farewell(worker: str) -> WorkerStopped:
    return WorkerStopped(at=unix_time(), source=worker, worker=worker, reason="drained", tasks=0, done=0)


@asynccontextmanager
async def beating(broker: Broker) -> AsyncIterator[None]:
    """Signs of life of a worker."""
    left = asyncio.Event()

    async def beat() -> None:
        while not left.is_set():
            await broker.publish_events([BrokerTrouble(at=unix_time(), source=broker.consumer, text="alive")])
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await left.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(beat())
        yield
        left.set()


@asynccontextmanager
async def open_broker(config: BrokerConfig, name: str) -> AsyncIterator[Broker]:
    broker = connect(config, name)
    await broker.open()
    yield broker
    await broker.close()
