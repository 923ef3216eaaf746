"""What pods do, with the commands of the rendered manifests: real coordinators and workers on real brokers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pika
import pytest
import yaml
from tests.kube.pods import Node, Pod, mount_config_map, mount_sub_paths

from rabbitmq_server import RabbitMQServer, SecureRabbitMQ
from runs import apply_oracle, eventually
from servers import RedisServer
from ttg.cli.kube import _imported_files
from ttg.kube import render
from ttg.kube.brokers import broker_secret
from ttg.kube.code import with_files
from ttg.kube.layout import Cluster, Sweep
from ttg.options import Options

ROOT = Path(__file__).parents[2]
SIZE = 400
SIM = """\
import time
from pathlib import Path
from models.linear import line

def price(i):
    while i >= 100 and not Path({gate!r}).exists():
        time.sleep(0.01)
    return line(i)
"""
LINE = "def line(i):\n    return 3 * i + 1\n"
INTERRUPTED = 4


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
    """The function, and a package that it imports, are in a ConfigMap, mounted as a kubelet does."""
    gate = tmp_path / "gate"
    (tmp_path / "sim.py").write_text(SIM.format(gate=str(gate)))
    package = tmp_path / "models"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "linear.py").write_text(LINE)
    function, axes = f"{tmp_path}/sim.py:price", (f"i=range(0,{SIZE})",)
    options = Options(workers=2, chunk_size=20)
    sweep = with_files(Sweep("r", function, axes, options, _imported_files(function)))
    assert sweep.files.keys() == {"sim.py", "models/__init__.py", "models/linear.py"}
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


class KubernetesRabbitMQ(RabbitMQServer):
    """A node whose account is the Secret's ``definitions.json``, as in a cluster."""

    def _configure(self) -> None:
        super()._configure()
        file = self.folder / "rabbitmq.conf"
        lines = [line for line in file.read_text(encoding="ascii").splitlines() if not line.startswith("default_")]
        definitions = self.folder / "definitions.json"
        file.write_text("\n".join([*lines, f"load_definitions = {definitions}\n"]), encoding="ascii")
        definitions.write_text(broker_secret("rabbitmq", self.password, "")["stringData"]["definitions.json"])

    def rotate(self) -> str:
        """Another password from the next start on; the URL with the old one."""
        before, account = self.url, self.folder / "account"
        account.write_text(account.read_text().replace(self.password, "another-password"))
        return before


def test_an_old_disk_takes_a_new_password() -> None:
    """The Secret is deleted and made again, with the same claim."""
    server = KubernetesRabbitMQ()
    asyncio.run(server.start())
    try:
        server.create("our.kept")
        old = server.rotate()
        asyncio.run(server.stop())
        asyncio.run(server.start())
        assert "kept" in asyncio.run(server.queues("our")), "it is the old disk"
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            pika.BlockingConnection(pika.URLParameters(old.partition("?")[0]))
    finally:
        server.close()


def test_the_sandboxs_sweep_finishes_and_may_be_applied_again(tmp_path: Path, valkey: RedisServer) -> None:
    node = Node(tmp_path / "node", valkey.url, TTG_NAMESPACE="sandbox")
    shutil.copytree(ROOT / "examples", node.work / "examples")  # as the image has them
    manifest = yaml.safe_load_all((ROOT / "k8s" / "manifests" / "parallel-jobs-queue.yaml").read_text(encoding="utf-8"))
    jobs = {item["metadata"]["name"]: item for item in manifest if item["kind"] == "Job"}
    try:
        for pods in (3, 1):
            workers = [node.start(jobs["ttg-worker-example-redis"]) for _ in range(pods)]
            assert node.start(jobs["ttg-coordinator-example-redis"]).wait() == 0, node.story()
            assert [worker.wait() for worker in workers] == [0] * pods, node.story()
        assert "run example-redis finished: 12,431 of 12,431 results" in node.pods[-1].said()
    finally:
        node.close()
