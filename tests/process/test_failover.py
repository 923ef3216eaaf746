"""Another server becomes the primary in mid-run: one that misses the last seconds, so that record, tasks, results and
members go back in time; and the next one of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis
from tests.process.fleet import Fleet

from redis_clusters import TcpServer, cluster_of
from runs import eventually
from servers import RedisServer, valkey_program
from ttg.demo.local_rabbitmq import free_ports


@pytest.mark.timeout(120)
def test_a_replica_that_misses_the_last_seconds_is_promoted(tmp_path: Path) -> None:
    ports = free_ports(2)
    servers = [RedisServer(valkey_program(), "--port", str(port), "--bind", "127.0.0.1") for port in ports]
    for server in servers:
        server.start()
    url = f"redis://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"
    fleet = Fleet(cast(Any, SimpleNamespace(name="valkey", url=url)), tmp_path, size=3000)
    try:
        with redis.Redis(port=ports[0]) as old, redis.Redis(port=ports[1]) as new:
            new.replicaof("127.0.0.1", ports[0])
            fleet.run("--chunk-size", "20").join(2).wait_for_calls(60)
            eventually(lambda: new.info("replication")["master_link_status"] == "up", "a replica in step")
            new.replicaof("NO", "ONE")  # from here on it misses everything
            fleet.wait_for_calls(200)
            old.replicaof("127.0.0.1", ports[1])
        fleet.finish(repeats_of=None)
        most = max(map(len, fleet.executed_again().values()), default=1)
        assert most <= 3, "nothing is repeated again and again"
    finally:
        fleet.retire()
        for server in servers:
            server.close()


@pytest.fixture
def cluster() -> Iterator[list[TcpServer]]:
    """Three primaries and a replica of the first, which has the keys of namespace ``f``."""
    with ExitStack() as stack:

        def start(*options: str) -> TcpServer:
            server = TcpServer(valkey_program(), *options)
            stack.callback(server.close)
            server.start()
            return server

        yield cluster_of(3, start, "--cluster-node-timeout", "1000", namespace="f")


@pytest.mark.timeout(120)
def test_the_owner_of_the_keys_in_a_cluster_steps_down_and_the_next_dies(
    cluster: list[TcpServer], tmp_path: Path
) -> None:
    """The first costs nothing; the second what the replica had not got yet, milliseconds."""
    owner, replica = cluster[0], cluster[-1]
    url = "redis://" + ",".join(node.address for node in cluster)
    fleet = Fleet(cast(Any, SimpleNamespace(name="cluster", url=url)), tmp_path, size=2_400, namespace="f")
    try:
        fleet.run("--chunk-size", "20").join(2).wait_for_calls(60)
        replica.cluster("FAILOVER")
        eventually(partial(_leads, replica), "the replica leads")
        fleet.wait_for_calls(300)
        assert not fleet.executed_again()
        with owner.admin() as admin:
            eventually(lambda: admin.info("replication")["role"] == "slave", "the old owner follows")
            eventually(lambda: admin.info("replication")["master_link_status"] == "up", "in step")
        replica.kill()
        eventually(partial(_leads, owner), "the other takes over")
        assert len(fleet.calls()) < fleet.size, "it was in mid-run"
        fleet.finish(repeats_of=None)
        assert max(map(len, fleet.executed_again().values()), default=1) <= 2, fleet.story()
    finally:
        fleet.retire()


def _leads(node: TcpServer) -> bool:
    with node.admin() as admin:
        return bool(admin.info("replication")["role"] == "master")
