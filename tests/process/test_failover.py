"""A replica that misses the last seconds becomes the primary: record, tasks, results, members go back in time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis
from tests.process.fleet import Fleet

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
