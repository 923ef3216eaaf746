"""``ttg kube dashboard``: a real dashboard on a real broker, which a stand-in for ``kubectl`` forwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from test_cluster import Fake, fake, job  # noqa: F401 - `fake` is a fixture

from runs import descendants_of, eventually, is_running
from servers import RedisServer, valkey_program
from ttg.cli import main
from ttg.demo.local_rabbitmq import free_ports

PASSWORD = "of-a/test"  # noqa: S105 - made up
QUOTA = 'pods "ttg-worker-r1-0" is forbidden: exceeded quota: team, requested: pods=1, used: pods=10, limited: pods=10'
ADVICE = "ask for fewer workers or less memory, or raise the namespace's quota"


@pytest.fixture
def cluster(fake: Fake) -> Iterator[Fake]:  # noqa: F811
    """A cluster with a broker, whose run has no room."""
    (port,) = free_ports(1)
    options = ("--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD)
    server = RedisServer(valkey_program(), *options).start()
    fake.answer(["get", "jsonpath={.data.password}"], stdout="b2YtYS90ZXN0")
    fake.answer(["get", "jobs,statefulsets,pods"], stdout={"items": [job("ttg-worker-r1")]})
    event = {"message": QUOTA, "involvedObject": {"name": "ttg-worker-r1"}}
    fake.answer(["get", "events"], stdout={"items": [event]})
    fake.answer(["port-forward", "service/ttg-redis"], stdout=f"Forwarding from 127.0.0.1:{port} -> 6379\n", lasts=True)
    fake.answer(["port-forward"], stdout=f"Forwarding from 127.0.0.1:{port} -> 6379\n", times=1)  # and breaks
    yield fake
    server.close()


def test_the_dashboard_tells_what_the_cluster_warns_of(cluster: Fake, tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as said:
        command = [sys.executable, "-m", "ttg", "kube", "dashboard", "r1", "--port", "0"]
        process = subprocess.Popen(command, stderr=said, env={**os.environ, "TTG_HOME": str(tmp_path / "home")})
    try:
        eventually(lambda: "dashboard: http" in (tmp_path / "said").read_text(), "it says where it is")
        link = (tmp_path / "said").read_text().partition("dashboard: ")[2].split()[0]
        eventually(lambda: len(cluster.calls("port-forward")) >= 2, "a forwarding that broke is begun again")
        assert cluster.calls("port-forward")[1]["arguments"][-1] == f"{forwarded_port(cluster)}:6379"
        eventually(lambda: texts(link) == [f"{QUOTA}: {ADVICE}"], "the warning is there")
        assert view(link)["connected"]
    finally:
        below = descendants_of(process.pid)
        process.terminate()
        assert process.wait(60) == 0, (tmp_path / "said").read_text()
    eventually(lambda: not [pid for pid in below if is_running(pid)], "nobody forwards any more")
    assert PASSWORD not in (tmp_path / "said").read_text()
    assert PASSWORD not in str(cluster.recorded())


def forwarded_port(cluster: Fake) -> str:
    (text,) = {rule["stdout"] for rule in cluster.rules if "port-forward" in rule["words"]}
    return str(text.partition("127.0.0.1:")[2].split()[0])


def view(link: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    opener.open(link.partition("#")[0], timeout=10).close()
    with opener.open(f"{link.partition('?')[0]}api/view", timeout=10) as answer:
        return json.load(answer)


def texts(link: str) -> list[str]:
    with suppress(OSError):  # busy
        return [fault["text"] for fault in view(link)["faults"]]
    return []


def test_a_broker_that_cannot_be_forwarded_is_one_line(
    fake: Fake,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake.answer(["get", "jsonpath={.data.password}"], stdout="b2Y=")
    fake.answer(["port-forward"], stderr='error: services "ttg-redis" not found\n', code=1)
    assert main(["kube", "dashboard"]) == 3
    assert capsys.readouterr().err == 'ttg: forwarding the port of service/ttg-redis: services "ttg-redis" not found\n'
