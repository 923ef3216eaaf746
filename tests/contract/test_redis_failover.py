"""The primary is somewhere else now: replicas, sentinels, clusters, with real servers on loopback ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from looking import read_all, task_ids
from making import done, tasks

from redis_clusters import Start, TcpServer, cluster_of, replica_of
from servers import valkey_program
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig
from ttg.demo.local_rabbitmq import free_ports
from ttg.errors import BrokerUnavailable
from ttg.messages import Task
from waiting import eventually, until


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[TcpServer] = []

    def start_one(*options: str) -> TcpServer:
        servers.append(TcpServer(valkey_program(), *options))
        servers[-1].start()
        return servers[-1]

    yield start_one
    for server in servers:
        server.close()


def swap(primary: TcpServer, replica: TcpServer) -> None:
    """As a planned failover: the old primary lives on as a replica, with its connections."""
    with primary.admin() as old, replica.admin() as new:
        new.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", replica.port)


@asynccontextmanager
async def opened(url: str, consumer: str = "worker", namespace: str = "ttg") -> AsyncIterator[Broker]:
    broker = connect(BrokerConfig(url, namespace), consumer)
    await broker.open()
    yield broker
    await broker.close()


async def work(broker: Broker, run: str = "r") -> set[str]:
    """Submit, take and settle what there is; the ids of all results of the run. Passing trouble is tried again."""

    async def once() -> set[str]:
        try:
            await broker.submit(tasks(3, run))
            held = await broker.lease(10, 1.0)
            await broker.settle([done(delivery) for delivery in held])
            return task_ids(await read_all(broker, run))
        except BrokerUnavailable:
            return set()

    return await eventually(once, lambda found: len(found) == 3)


async def test_connections_leave_a_primary_that_became_a_replica(start: Start) -> None:
    primary = start()
    replica = replica_of(primary, start)
    async with opened(f"redis://{primary.address}") as broker:
        await broker.submit(tasks(3))
        swap(primary, replica)
        assert len(await work(broker)) == 3
        with replica.admin() as admin:
            assert admin.xlen("ttg.results") >= 3


async def test_of_several_addresses_the_primary_is_found(start: Start) -> None:
    primary = start()
    replica = replica_of(primary, start)
    (nobody,) = free_ports(1)
    url = f"redis://127.0.0.1:{nobody},{replica.address},{primary.address}/0"
    async with opened(url) as broker:
        assert len(await work(broker)) == 3
        primary.kill()
        with replica.admin() as admin:
            admin.replicaof("NO", "ONE")
        assert len(await work(broker)) == 3


async def test_sentinels_know_the_primary(start: Start, tmp_path: Path) -> None:
    primary = start()
    settings = tmp_path / "sentinel.conf"
    settings.write_text(f"sentinel monitor mymaster 127.0.0.1 {primary.port} 1\n", encoding="utf-8")
    sentinel = _sentinel(settings)
    try:
        async with opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster") as broker:
            assert len(await work(broker)) == 3
        with pytest.raises(BrokerUnavailable, match="knows no primary 'other'"):
            async with opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/other"):
                pass
    finally:
        sentinel.close()


def _sentinel(settings: Path) -> TcpServer:
    class Sentinel(TcpServer):
        def _settings(self) -> list[str]:
            return [str(settings), "--sentinel", "--unixsocket", str(self.socket), "--dir", str(self.folder)]

    sentinel = Sentinel(valkey_program())
    sentinel.start()
    return sentinel


def keys_in(nodes: list[TcpServer]) -> list[set[str]]:
    found = []
    for node in nodes:
        with node.admin() as admin:
            found.append(set(admin.keys("*")))
    return found


async def test_in_a_cluster_all_keys_are_on_one_node_whichever_is_asked(start: Start) -> None:
    nodes = cluster_of(3, start)
    for node in nodes:
        async with opened(f"redis://{node.address}") as broker:
            assert len(await work(broker)) == 3
            assert {queue.name for queue in (await broker.stats()).queues} > {"{ttg}.tasks", "{ttg}.results"}
    used = [keys for keys in keys_in(nodes) if keys]
    assert len(used) == 1
    assert all(key.startswith("{ttg}.") for key in used[0])
    for node in nodes:
        # As a tool that looks before it opens anything: its first command is put together before it knows.
        broker = connect(BrokerConfig(f"redis://{node.address}", "{ttg}"), "tagged")
        plain = connect(BrokerConfig(f"redis://{node.address}"), "plain")
        assert await plain.results_end() == await broker.results_end() != "0-0"
        await broker.close()
        await plain.close()
    cleaner = connect(BrokerConfig(f"redis://{nodes[0].address}"), "cleanup")
    assert "{ttg}.results" in await cleaner.purge()
    await cleaner.close()
    assert keys_in(nodes) == [set(), set(), set()]


async def test_too_few_replicas_are_waited_for(start: Start) -> None:
    primary = start("--min-replicas-to-write", "1")
    broker = connect(BrokerConfig(f"redis://{primary.address}"), "worker")
    with pytest.raises(BrokerUnavailable, match="NOREPLICAS"):
        await broker.open()
    replica_of(primary, start)
    with primary.admin() as admin:
        until(lambda: admin.info("replication")["min_slaves_good_slaves"], lambda good: good == 1)
    await broker.open()
    assert len(await work(broker)) == 3
    await broker.close()


AHEAD = "99999999999999"
"""Milliseconds of a clock that is far ahead of ours."""


@pytest.mark.parametrize("begins_at", ["now", "with ids that were read"])
async def test_what_a_new_primary_adds_is_read_although_its_clock_is_behind(start: Start, begins_at: str) -> None:
    """It misses what was read last, and its ids are lower than those, or the same."""
    primary = start()
    replica = replica_of(primary, start)
    async with opened(f"redis://{primary.address},{replica.address}") as broker:
        with primary.admin() as old, replica.admin() as new:
            assert len(await work(broker)) == 3
            until(lambda: new.xlen("ttg.results"), lambda length: length == 3)
            new.replicaof("NO", "ONE")
            old.execute_command("XSETID", "ttg.results", f"{AHEAD}-1")
            assert len(await work(broker, "second")) == 3
            read = await read_all(broker)
            assert [message.cursor for message in read[3:]] == [f"{AHEAD}-{number}" for number in (2, 3, 4)]
            if begins_at != "now":
                new.execute_command("XSETID", "ttg.results", f"{AHEAD}-1")
            old.replicaof("127.0.0.1", replica.port)
            assert await eventually(partial(_submitted, broker, tasks(3, "third")))
            held = await broker.lease(10, 2.0)
            assert all(await broker.settle([done(delivery) for delivery in held]))
            assert len(await read_all(broker, "third", read[-1].cursor)) == len(held) == 3


async def _submitted(broker: Broker, wanted: list[Task]) -> bool:
    with suppress(BrokerUnavailable):
        await broker.submit(wanted)
        return True
    return False
