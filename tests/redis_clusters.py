"""Redis and Valkey servers that know one another: replicas, and clusters, on loopback ports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import redis

from servers import RedisServer
from ttg.demo.local_rabbitmq import free_ports
from waiting import until

SLOTS = 16384


class TcpServer(RedisServer):
    """A server on a loopback port."""

    def __init__(self, program: str, *options: str) -> None:
        (self.port,) = free_ports(1)
        super().__init__(program, "--port", str(self.port), "--bind", "127.0.0.1", *options)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def admin(self) -> redis.Redis:
        """A client of another program."""
        return redis.Redis(port=self.port, decode_responses=True)

    def cluster(self, *words: str | int) -> Any:
        """What it answers to ``CLUSTER …``."""
        with self.admin() as admin:
            return admin.execute_command(f"CLUSTER {words[0]}", *words[1:])


Start = Callable[..., TcpServer]


def replica_of(primary: TcpServer, start: Start) -> TcpServer:
    """A new server that follows ``primary``, in step."""
    replica = start("--replicaof", "127.0.0.1", str(primary.port))
    _wait_until_in_step(replica)
    return replica


def _wait_until_in_step(replica: TcpServer) -> None:
    with replica.admin() as admin:
        until(lambda: admin.info("replication").get("master_link_status"), lambda status: status == "up")


def cluster_of(count: int, start: Start, *options: str, namespace: str = "") -> list[TcpServer]:
    """Nodes that share the slots; with a ``namespace`` a replica of the one that has its keys comes last."""
    buses = free_ports(count + bool(namespace))
    nodes = [start("--cluster-enabled", "yes", "--cluster-port", str(bus), *options) for bus in buses]
    for number, node in enumerate(nodes):
        if number < count:
            node.cluster("ADDSLOTSRANGE", SLOTS * number // count, SLOTS * (number + 1) // count - 1)
        if number:
            node.cluster("MEET", "127.0.0.1", nodes[0].port, buses[0])
    for node in nodes:
        until(partial(node.cluster, "INFO"), lambda info: info["cluster_state"] == "ok")
        until(partial(node.cluster, "INFO"), lambda info: info["cluster_known_nodes"] == str(len(nodes)))
    if namespace:
        owner = nodes[count * int(nodes[0].cluster("KEYSLOT", f"{{{namespace}}}.tasks")) // SLOTS]
        nodes[-1].cluster("REPLICATE", owner.cluster("MYID"))
        _wait_until_in_step(nodes[-1])
        nodes.insert(0, nodes.pop(nodes.index(owner)))
    return nodes
