"""Partitions: hosts in network namespaces whose links are cut without a word, each run followed by the oracle."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.process.fleet import CALL_SECONDS, LEASE_SECONDS, Fleet

from network import Network
from rabbitmq_server import RabbitMQServer
from runs import eventually
from servers import RedisServer, redis_program

HOSTS = ("broker", "coordinator", "near", "far")
TWO_LEASES_OF_CALLS = int(2 * float(LEASE_SECONDS) / CALL_SECONDS)
"""As many as the worker that is left makes in that time, or fewer."""

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    network = Network(*HOSTS)
    yield network
    network.close()


class RemoteRabbitMQ(RabbitMQServer):
    """A node on a host of its own."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._address, self._inside = network.address("broker"), network.inside("broker")

    @property
    def url(self) -> str:
        return super().url.replace("127.0.0.1", self._address)

    def _configure(self) -> None:
        super()._configure()
        with (self.folder / "rabbitmq.conf").open("a") as file:
            file.write(f"listeners.tcp.2 = {self._address}:{self.port}\n")

    def _keep(self, name: str, command: Sequence[str], parent_pipe_end: int) -> None:
        super()._keep(name, [*self._inside, *command], parent_pipe_end)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self._address, self.port), timeout=1.0) as line:
            line.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(line.recv(1))
        return False


@dataclass
class RemoteSite:
    """A broker that a network, and not a proxy, stands before."""

    name: str
    url: str


@contextmanager
def redis_site(network: Network) -> Iterator[RemoteSite]:
    address = network.address("broker")
    options = ("--port", "6379", "--bind", address, "--protected-mode", "no")
    server = RedisServer(redis_program(), *options, inside=network.inside("broker")).start()
    yield RemoteSite("redis", f"redis://{address}:6379")
    server.close()


@contextmanager
def rabbitmq_site(network: Network) -> Iterator[RemoteSite]:
    node = RemoteRabbitMQ(network)
    asyncio.run(node.start())
    yield RemoteSite("rabbitmq", node.url)
    node.close()


@pytest.fixture(scope="module", params=[redis_site, rabbitmq_site], ids=["redis", "rabbitmq"])
def site(request: pytest.FixtureRequest, network: Network) -> Iterator[RemoteSite]:
    with request.param(network) as site:
        yield site


@pytest.fixture
def fleet(site: RemoteSite, network: Network, tmp_path: Path) -> Iterator[Fleet]:
    """A coordinator and two workers, each on its own host."""
    fleet = Fleet(site, tmp_path, size=3_600)
    fleet.coordinator.inside = network.inside("coordinator")
    fleet.run("--chunk-size", "100", "--checkpoint", "500ms")
    fleet.join(1, inside=network.inside("near")).join(1, inside=network.inside("far")).wait_for_calls(100)
    yield fleet
    fleet.retire()


def test_a_worker_cut_off_beyond_its_lease_comes_back_and_nothing_counts_twice(fleet: Fleet, network: Network) -> None:
    """What it held is done elsewhere; what it brings when it is back is dropped; and it works on."""
    far, began = fleet.slots_of(fleet.workers[1]), time.time()
    network.cut("far")
    try:
        fleet.wait_for_calls(TWO_LEASES_OF_CALLS)
    finally:
        network.mend("far")
    back = time.time()
    fleet.finish(repeats_of=far).note("a worker's link cut", began)
    assert any(call.pid in far and call.at > back + 0.5 for call in fleet.calls()), fleet.story()
    for worker in fleet.workers:
        assert worker.wait(30.0) == 0, fleet.story()


def test_a_coordinator_cut_off_goes_on_with_its_run(fleet: Fleet, network: Network) -> None:
    """Workers finish what is out meanwhile; nothing is submitted again."""
    began = time.time()
    network.cut("coordinator")
    try:
        eventually(lambda: "waiting: " in fleet.coordinator.said(), f"it notices: {fleet.story()}")
    finally:
        network.mend("coordinator")
    fleet.finish().note("the coordinator's link cut", began)
    said = fleet.coordinator.said()
    assert said.count("waiting: ") == said.count("well again after"), said
    assert "waiting: " not in said.splitlines()[-1], said
