"""A registration says which connection stands for a consumer: one that says nothing about now must not free its tasks.

Only Redis and Valkey have them: there others see by the list of connections who is dead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
import redis
from making import done, task

from front import front
from servers import RedisServer, valkey_program
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig, Delivery
from ttg.brokers.redis.keys import Keys
from ttg.brokers.redis.membership import Membership
from ttg.clock import loop_time
from ttg.errors import BrokerUnavailable
from ttg.messages import BrokerTrouble, WorkerLost
from waiting import eventually

LEASE_SECONDS = 60.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer(valkey_program(), "--appendfsync", "always").start()
    yield server
    server.close()


@pytest.fixture
def config(server: RedisServer) -> BrokerConfig:
    return BrokerConfig(server.url, lease_seconds=LEASE_SECONDS)


@pytest.fixture
async def owner(config: BrokerConfig) -> AsyncIterator[Broker]:
    broker = connect(config, "owner")
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
async def other(config: BrokerConfig) -> AsyncIterator[Broker]:
    broker = connect(config, "other")
    yield broker
    await broker.close()


async def test_one_of_an_earlier_life_of_the_server_frees_nothing(
    owner: Broker, other: Broker, server: RedisServer
) -> None:
    """Client ids start anew with the server: that the old one is not listed does not mean that the owner is dead."""
    await owner.submit([task()])
    (delivery,) = await owner.lease(1, 5.0)
    server.kill()
    server.start()
    await other.open()
    assert await other.lease(1, 1.5) == [], "the owner has not had the time to come back"
    events = await other.read_events(None, 100, 0.0)
    assert not [event for _, event in events if isinstance(event, WorkerLost)]
    assert await eventually(lambda: _settled(owner, delivery)) == [True]


async def test_one_of_an_earlier_life_that_never_comes_back_is_forgotten(other: Broker, server: RedisServer) -> None:
    """Otherwise the registrations of a server that is restarted now and then grow for ever."""
    await other.open()
    with redis.Redis.from_url(server.url) as stranger:
        stranger.hset("ttg.workers", "gone", "7 0123abcd ttg:gone")

        async def is_forgotten() -> bool:
            await other.lease(1, 0.3)
            return not stranger.hexists("ttg.workers", "gone")

        await eventually(is_forgotten)


async def test_of_thousands_of_workers_and_events_is_asked_in_commands_that_every_service_takes(
    owner: Broker, config: BrokerConfig, server: RedisServer
) -> None:
    await owner.lease(1, 0.0)
    async with front(str(server.socket), most_arguments=3_100) as url:
        other = connect(replace(config, url=url), "other")
        await other.open()
        with redis.Redis.from_url(server.url) as stranger:
            living = stranger.hget("ttg.workers", "owner")
            assert isinstance(living, bytes)
            stranger.hset("ttg.workers", mapping={f"w{number}": living for number in range(3_500)})
            stranger.hset("ttg.workers", "gone", b"1" + living)

            async def is_noticed() -> bool:
                await other.lease(1, 0.3)
                return not stranger.hexists("ttg.workers", "gone")

            await eventually(is_noticed)
            assert stranger.hlen("ttg.workers") > 3_500
            await other.publish_events([BrokerTrouble(at=0.0, source="s", text="t")] * 4_000)
            assert stranger.xlen("ttg.events") >= 4_000
        await other.close()


async def _settled(owner: Broker, delivery: object) -> list[bool]:
    try:
        return await owner.settle([done(delivery)])  # type: ignore[arg-type]
    except Exception:
        return []


async def test_one_that_was_replaced_meanwhile_frees_nothing(
    owner: Broker, config: BrokerConfig, server: RedisServer
) -> None:
    """Between seeing that a connection is gone and freeing its tasks, its consumer may have come back."""
    await owner.submit([task()])
    (delivery,) = await owner.lease(1, 5.0)
    with redis.Redis.from_url(server.url) as stranger:
        registration = stranger.hget(f"{config.namespace}.workers", "owner")
        assert isinstance(registration, bytes)
    caretaker = Membership(config, Keys(config.namespace), "caretaker")
    assert await caretaker.give_back("owner", registration=b"1" + registration, forget=True) == (0, 0)
    assert await owner.renew([delivery]) == []
    freed, _ = await caretaker.give_back("owner", registration=registration, forget=True)
    assert freed == 1
    assert await owner.renew([delivery]) == [delivery]
    await caretaker.own.close()


async def test_whose_connections_were_cut_keeps_what_it_holds(
    owner: Broker, other: Broker, server: RedisServer
) -> None:
    await owner.submit([task()])
    (delivery,) = await owner.lease(1, 5.0)
    await other.open()
    for _ in range(3):
        with redis.Redis.from_url(server.url) as stranger:
            stranger.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await _leased(other, seconds=1.5) == []
    assert await eventually(lambda: _settled(owner, delivery)) == [True]


async def _leased(broker: Broker, seconds: float) -> list[Delivery]:
    """What is handed out within some seconds, whatever happens to the connection."""
    deadline = loop_time() + seconds
    found: list[Delivery] = []
    while loop_time() < deadline:
        with suppress(BrokerUnavailable):
            found += await broker.lease(1, 0.2)
    return found


async def test_nothing_of_a_worker_that_left_stays(owner: Broker, other: Broker, server: RedisServer) -> None:
    """Workers come and go for a year under ever new names."""
    await owner.submit([task(0), task(1)])
    (held,) = await owner.lease(1, 5.0)
    await owner.renew([held])
    await owner.settle([done(held)])
    with redis.Redis.from_url(server.url) as stranger:
        assert _traces(stranger) == {"owner"}
        await other.open()
        await other.lease(1, 5.0)
        await owner.close()
        assert _traces(stranger) == {"other"}


def _traces(stranger: redis.Redis) -> set[str]:
    """The names under which the server knows workers, in any of its keys."""
    consumers = {entry["name"] for entry in stranger.xinfo_consumers("ttg.tasks", "ttg-workers")}
    return {
        name.decode()
        for name in (*consumers, *stranger.hkeys("ttg.workers"), *stranger.zrange("ttg.workers.seen", 0, -1))
    }


async def test_asking_for_work_and_renewing_are_signs_of_life(owner: Broker, server: RedisServer) -> None:
    """By them the server knows for how long a worker that it cannot ask has been silent."""
    await owner.submit([task()])
    (held,) = await owner.lease(1, 5.0)
    with redis.Redis.from_url(server.url) as stranger:

        def forget() -> None:
            stranger.zadd("ttg.workers.seen", {"owner": 0.0})

        def seen() -> bool:
            return (stranger.zscore("ttg.workers.seen", "owner") or 0.0) > 0.0

        forget()
        await owner.renew([held])
        assert seen()

        async def asks() -> bool:
            await owner.lease(1, 0.1)
            return seen()

        forget()
        await eventually(asks)
