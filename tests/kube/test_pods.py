"""What pods do, with the commands of the rendered manifests: real coordinators and workers on real brokers."""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
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
from ttg.cli.kube import _imported_modules
from ttg.function import files_of_program, program
from ttg.kube import render
from ttg.kube.brokers import broker_secret
from ttg.kube.code import code_configs, with_files, with_packages
from ttg.kube.jobs import FINISHED_WITH_DEAD_LETTERS, PART_BYTES
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
    return line(i) + len(Path("table.csv").read_text())
"""
LINE = """\
import json
from pathlib import Path

SLOPE = json.loads(Path(__file__).with_name("slope.json").read_text())["slope"]

def line(i):
    return SLOPE * i + 1
"""
SIGNING = "of-a-test"
INTERRUPTED = 4


@pytest.fixture(params=["valkey", "rabbitmq"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    server: RedisServer | SecureRabbitMQ = request.getfixturevalue(request.param)
    node = Node(
        tmp_path / "node", server.url, TTG_NAMESPACE=f"k{uuid4().hex[:8]}", TTG_LEASE_SECONDS="2", TTG_SECRET=SIGNING
    )
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
    """The function, a package with data that it imports, and a file that it reads come as a signed archive, mounted as
    a kubelet does."""
    gate = tmp_path / "gate"
    sweep = own_files(tmp_path, gate)
    mount(parts(sweep, SIGNING), node.code)
    assert len(code_configs(sweep, b"")) == 2
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
    (folder,) = (node.folder / "tmp").glob("ttg-code-*")
    assert folder.name == f"ttg-code-{sweep.full_name}", "all of the node's pods unpacked it there, once"


def own_files(folder: Path, gate: Path) -> Sweep:
    """A sweep with a package that is larger than one ConfigMap, as it is inside the pods."""
    (folder / "sim.py").write_text(SIM.format(gate=str(gate)))
    (folder / "table.csv").touch()
    package = folder / "models"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "linear.py").write_text(LINE)
    (package / "slope.json").write_text('{"slope": 3}')
    (package / "noise").write_bytes(os.urandom(PART_BYTES))
    function, axes = f"{folder}/sim.py:price", (f"i=range(0,{SIZE})",)
    options = Options(workers=2, chunk_size=20, send=(folder / "table.csv",))
    modules = _imported_modules(argparse.Namespace(function=function, axes=axes), options)
    return with_files(Sweep("r", function, axes, options, with_packages(modules)))


def parts(sweep: Sweep, secret: str) -> dict[str, bytes]:
    """What a kubelet mounts of the sweep's ConfigMaps: all their keys, in one folder."""
    configs = code_configs(sweep, secret.encode())
    return {key: base64.b64decode(data) for config in configs for key, data in config["binaryData"].items()}


def test_a_program_goes_along_and_is_executed(tmp_path: Path, valkey: RedisServer) -> None:
    node = Node(tmp_path / "node", valkey.url, TTG_NAMESPACE="programs", TTG_SECRET=SIGNING)
    model = tmp_path / "bin" / "model"
    model.parent.mkdir()
    model.write_text('#!/bin/sh\nif [ "$1" = 3 ]; then echo broken >&2; exit 7; fi\necho $(($1 * 3))\n')
    model.chmod(0o755)
    words = ("bin/model", "{i}")
    files = files_of_program(program(words), tmp_path)
    sweep = with_files(Sweep("r", "", ("i=range(0,40)",), Options(workers=1, retries=0), files, program=words))
    mount_config_map(parts(sweep, SIGNING), node.code)
    try:
        pods = [node.start(item) for item in render.sweep_objects(Cluster(), sweep) if item["kind"] == "Job"]
        assert sorted(pod.wait() for pod in pods) == [0, FINISHED_WITH_DEAD_LETTERS], node.story()
        apply_oracle(node.data / "r", 40, lambda i: 3 * i, dead={3})
    finally:
        node.close()


def test_files_that_were_not_signed_for_the_run_are_not_executed(tmp_path: Path) -> None:
    node, sweep = Node(tmp_path / "node", "redis://127.0.0.1:1", TTG_SECRET=SIGNING), own_files(tmp_path, tmp_path)
    mount_config_map(parts(sweep, "of-somebody-else"), node.code)
    jobs = [item for item in render.sweep_objects(Cluster(), sweep) if item["kind"] == "Job"]
    try:
        pods = [node.start(job) for job in jobs]
        assert [pod.wait() for pod in pods] == [2, 2], "which fails a Job for good"
    finally:
        node.close()
    assert all("not what was signed with this pod's TTG_SECRET" in pod.said() for pod in pods), node.story()
    assert not list((node.folder / "tmp").iterdir())


def test_a_run_that_stops_by_itself_ends_its_job(tmp_path: Path, valkey: RedisServer) -> None:
    """Its exit code is not that of a coordinator that was drained: another pod would begin again, and stop again."""
    node = Node(tmp_path / "node", valkey.url, TTG_NAMESPACE="stopping")
    (node.work / "sim.py").write_text("def broken(x):\n    raise ValueError(x)\n")
    sweep = Sweep("r", "sim.py:broken", ("x=1,2",), Options(retries=0, fail_fast=True))
    jobs = {item["metadata"]["name"]: item for item in render.sweep_objects(Cluster(), sweep) if item["kind"] == "Job"}
    coordinator = jobs["ttg-coordinator-r"]
    try:
        node.start(jobs["ttg-worker-r"])
        code = node.start(coordinator).wait()
    finally:
        node.close()
    rules = [rule["onExitCodes"] for rule in coordinator["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert code not in (0, INTERRUPTED), node.story()
    assert any(code in rule["values"] for rule in rules), node.story()


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
