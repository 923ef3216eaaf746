"""What pods do, with the commands of the rendered manifests: real coordinators and workers on real brokers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.kube.pods import Node, Pod, mount_config_map, mount_sub_paths

from rabbitmq_server import SecureRabbitMQ
from runs import apply_oracle, eventually
from servers import RedisServer, valkey_program
from ttg.kube import render
from ttg.kube.code import with_files
from ttg.kube.layout import Cluster, Sweep
from ttg.options import Options

SIZE = 400
SIM = """\
import time
from pathlib import Path

def price(i):
    while i >= 100 and not Path({gate!r}).exists():
        time.sleep(0.01)
    return 3 * i + 1
"""
INTERRUPTED = 4


@pytest.fixture(scope="module")
def valkey() -> Iterator[RedisServer]:
    server = RedisServer(valkey_program()).start()
    yield server
    server.close()


@pytest.fixture(params=["valkey", "rabbitmq"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    server: RedisServer | SecureRabbitMQ = request.getfixturevalue(request.param)
    node = Node(tmp_path / "node", server.url, TTG_NAMESPACE=f"k{uuid4().hex[:8]}", TTG_LEASE_SECONDS="2")
    yield node
    node.close()


def is_waiting(pod: Pod, since: int) -> Callable[[], bool]:
    return lambda: "no run has any" in pod.said()[since:]


@pytest.mark.parametrize(
    ("node", "mount"), [("valkey", mount_config_map), ("rabbitmq", mount_sub_paths)], indirect=["node"]
)
def test_a_coordinator_that_is_drained_is_replaced_and_its_workers_stay(
    node: Node, tmp_path: Path, mount: Callable[[dict[str, bytes], Path], None]
) -> None:
    """The function is in a ConfigMap, mounted as a kubelet does."""
    gate = tmp_path / "gate"
    (tmp_path / "sim.py").write_text(SIM.format(gate=str(gate)))
    options = Options(workers=2, chunk_size=20)
    sweep = with_files(Sweep("r", f"{tmp_path}/sim.py:price", (f"i=range(0,{SIZE})",), options))
    mount({name: path.read_bytes() for name, path in sweep.files.items()}, node.work)
    jobs = {item["metadata"]["name"]: item for item in render.sweep_objects(Cluster(), sweep) if item["kind"] == "Job"}
    coordinator, table = node.start(jobs["ttg-coordinator-r"]), node.data / "r"
    workers = [node.start(jobs["ttg-worker-r"]) for _ in range(2)]
    eventually(lambda: any(table.glob("results/*.parquet")), "something is on disk")

    said = [len(worker.said()) for worker in workers]
    assert coordinator.delete() == INTERRUPTED, node.story()
    for worker, since in zip(workers, said, strict=True):
        eventually(is_waiting(worker, since), f"the worker has seen that nobody leads the run: {node.story()}")
        assert worker.is_running(), node.story()

    gate.touch()
    assert node.start(jobs["ttg-coordinator-r"]).wait() == 0, node.story()
    assert [worker.wait() for worker in workers] == [0, 0], "they were done when the run was"
    apply_oracle(table, SIZE, lambda i: 3 * i + 1, dead=set())
