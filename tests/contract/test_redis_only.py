"""What only a Redis or Valkey server does to its clients, so that other backends have no such test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from backends import RedisBackend
from looking import dead_letters
from making import died, done, task, tasks

from servers import RedisServer, valkey_program
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig, Delivery
from ttg.errors import AccessRefused, BrokerFull, BrokerRefused, SettingsError
from waiting import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer(valkey_program()).start()
    yield server
    server.close()


@pytest.fixture
def stranger(server: RedisServer) -> Iterator[redis.Redis]:
    """Another client of the server, with all rights; what it configured is undone."""
    with redis.Redis.from_url(server.url) as client:
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("requirepass", "")
        client.flushall()


@pytest.fixture
async def worker(server: RedisServer) -> AsyncIterator[Broker]:
    broker = connect(BrokerConfig(server.url, lease_seconds=1.0), "worker")
    await broker.open()
    yield broker
    await broker.close()


async def test_out_of_memory_is_full_and_nothing_was_recorded(worker: Broker, stranger: redis.Redis) -> None:
    await worker.submit(tasks(2))
    first, second = await worker.lease(2, 5.0)
    stranger.config_set("maxmemory", 1)
    with pytest.raises(BrokerFull, match="maxmemory"):
        await worker.settle([died(first), done(second)])
    with pytest.raises(BrokerFull):
        await worker.submit([task(9)])
    assert await worker.renew([first, second]) == []
    assert await worker.lease(1, 0.1) == []
    assert await worker.read_results(None, 10, 0) == await dead_letters(worker) == []
    stranger.config_set("maxmemory", 0)
    assert await worker.settle([died(first), done(second)]) == [True, True]


async def test_a_flushed_server_is_set_up_again(worker: Broker, stranger: redis.Redis) -> None:
    await worker.submit([task(1)])
    (held,) = await worker.lease(1, 5.0)
    stranger.flushall()
    assert await worker.lease(1, 0.1) == []
    assert await worker.renew([held]) == [held]
    assert await worker.settle([done(held)]) == [False]
    await worker.submit([task(2)])
    (delivery,) = await worker.lease(1, 5.0)
    assert await worker.settle([done(delivery)]) == [True]


async def test_without_client_list_the_lease_decides(server: RedisServer, stranger: redis.Redis) -> None:
    stranger.acl_setuser(
        "careful", enabled=True, nopass=True, keys="*", categories=["+@all"], commands=["-client|list"]
    )
    url = server.url.replace("unix://", "unix://careful:x@")
    worker = connect(BrokerConfig(url, lease_seconds=0.5), "worker")
    await worker.open()
    await worker.submit([task()])
    await RedisBackend.kill_holder(_At(server.url), BrokerConfig(server.url, lease_seconds=0.5), "victim")
    (delivery,) = await worker.lease(1, 10.0)
    (_, event) = (await worker.read_events(None, 10, 1.0))[-1]
    assert delivery.deliveries == 2
    assert event.how == "lease"  # type: ignore[union-attr]
    await worker.close()


@pytest.mark.parametrize("command", ["xpending", "zrangebyscore", "hgetall"])
async def test_what_only_scripts_and_maintenance_do_is_missed_by_name(
    command: str, server: RedisServer, stranger: redis.Redis
) -> None:
    stranger.acl_setuser("poor", enabled=True, nopass=True, keys="*", categories=["+@all"], commands=[f"-{command}"])
    worker = connect(BrokerConfig(server.url.replace("unix://", "unix://poor:x@")), "worker")
    await worker.open()
    with pytest.raises(AccessRefused, match=rf"\+{command}"):
        await _keep_leasing(worker)
    await worker.close()


async def _keep_leasing(worker: Broker) -> None:
    for _ in range(50):
        await worker.lease(1, 0.1)


async def test_a_settlement_that_is_forbidden_is_not_taken_for_a_lost_lease(
    server: RedisServer, stranger: redis.Redis, worker: Broker
) -> None:
    await worker.submit([task()])
    (held,) = await worker.lease(1, 5.0)
    stranger.acl_setuser("default", enabled=True, nopass=True, commands=["-xpending"])
    for ask in (worker.settle([done(held)]), worker.renew([held])):
        with pytest.raises(AccessRefused, match="xpending"):
            await ask
    stranger.acl_setuser("default", enabled=True, nopass=True, commands=["+xpending"])


class _At(RedisBackend):
    """A backend where a server already runs."""

    def __init__(self, url: str) -> None:
        self.url = url


async def test_a_worker_whose_connection_was_cut_is_known_again(worker: Broker, stranger: redis.Redis) -> None:
    await worker.submit([task()])
    (delivery,) = await worker.lease(1, 5.0)
    stranger.client_kill_filter(_type="normal", skipme=True)
    await eventually(lambda: _renewed(worker, [delivery]))
    other = connect(worker.config, "other")
    assert await other.lease(1, 0.6) == []
    assert await worker.settle([done(delivery)]) == [True]
    await other.close()


async def _renewed(worker: Broker, deliveries: list[Delivery]) -> bool:
    try:
        return not await worker.renew(deliveries)
    except Exception:
        return False


@pytest.mark.parametrize("credentials", ["", ":wrong@", "nobody:wrong@"])
async def test_a_refused_login_says_so(server: RedisServer, stranger: redis.Redis, credentials: str) -> None:
    stranger.config_set("requirepass", "secret")
    stranger.auth("secret")
    broker = connect(BrokerConfig(server.url.replace("unix://", f"unix://{credentials}")), "worker")
    with pytest.raises(BrokerRefused, match="user or password") as caught:
        await broker.open()
    assert "wrong" not in str(caught.value).partition("(")[0]
    await broker.close()


async def test_keys_of_another_type_are_refused_and_never_purged(stranger: redis.Redis, server: RedisServer) -> None:
    stranger.set("ttg.tasks", "a string of somebody's")
    broker = connect(BrokerConfig(server.url), "worker")
    with pytest.raises(BrokerRefused, match="another program"):
        await broker.open()
    await broker.purge()
    assert stranger.get("ttg.tasks") == b"a string of somebody's"
    await broker.close()


async def test_an_idle_cluster_leaves_the_server_alone(server: RedisServer, stranger: redis.Redis) -> None:
    """Ten idle workers together ask little: the maintenance itself is done by one of them."""
    workers = [connect(BrokerConfig(server.url), f"w{number}") for number in range(10)]
    await asyncio.gather(*(worker.open() for worker in workers))
    await asyncio.gather(*(worker.lease(1, 0.5) for worker in workers))
    stranger.config_resetstat()
    await asyncio.gather(*(worker.lease(1, 1.0) for worker in workers))
    calls = {name: figures["calls"] for name, figures in stranger.info("commandstats").items()}
    assert calls.get("cmdstat_client|list", 0) <= 8, calls
    await asyncio.gather(*(worker.close() for worker in workers))


def test_a_url_that_cannot_be_read_is_explained() -> None:
    with pytest.raises(SettingsError, match=r"redis://.*\*\*\*"):
        connect(BrokerConfig("redis://u:geheim@host:notaport/0"), "worker")
    with pytest.raises(SettingsError, match="expected a broker URL"):
        connect(BrokerConfig("kafka://host"), "worker")
