"""The services of ``compose.yaml`` that are ours: each command for real, on both brokers."""

from __future__ import annotations

import re
import shutil
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
import yaml
from tests.kube.pods import Node

from rabbitmq_server import SecureRabbitMQ
from runs import eventually
from servers import RedisServer
from ttg.demo.local_rabbitmq import free_ports

ROOT = Path(__file__).parents[2]
ACCESS = "of-a-test"
PORTS = {"8080": "dashboard", "9101": "worker"}


@pytest.fixture(params=["valkey", "rabbitmq"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    server: RedisServer | SecureRabbitMQ = request.getfixturevalue(request.param)
    node = Node(tmp_path / "node", server.url, TTG_NAMESPACE=f"compose-{request.param}", LOG_FORMAT="json")
    shutil.copytree(ROOT / "examples", node.work / "examples")  # as the image has them: no links
    yield node
    node.close()


def commands(ports: dict[str, str]) -> dict[str, list[str]]:
    """The command of each service of ours, with the defaults of its variables, on free ports."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    ours = {name: service["command"] for name, service in services.items() if name in ("worker", "run", "dashboard")}
    assert len(ours) == 3
    return {name: ["ttg", *(ports.get(word, _filled(word)) for word in words)] for name, words in ours.items()}


def _filled(word: str) -> str:
    return re.sub(r"\$\{RUN:-(\w+)\}", r"\1", re.sub(r"\$\{DASHBOARD_TOKEN:\?.*\}", ACCESS, word))


def answers(port: str, path: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_every_service_starts_what_it_says(node: Node) -> None:
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    words = commands(ports)
    dashboard, worker = node.execute(words["dashboard"]), node.execute(words["worker"])
    assert node.execute(words["run"]).wait() == 0, node.story()
    assert ds.dataset(node.data / "run" / "results", format="parquet").count_rows() == 1000
    eventually(lambda: answers(ports["8080"], f"/?token={ACCESS}"), "the dashboard lets the token in")
    eventually(lambda: answers(ports["9101"], "/metrics"), "Prometheus can scrape the worker")
    assert dashboard.is_running()
    assert worker.delete() == 75, node.story()
