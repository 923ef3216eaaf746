"""``ttg cleanup`` beside foreign keys, queues, pods and folders, every one of which must stay."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rabbitmq_server import RabbitMQServer
from servers import RedisServer, ask, valkey_program
from ttg.brokers import connect
from ttg.cli import main
from ttg.clock import unix_time
from ttg.messages import RunRecord, Task
from ttg.settings import read_settings

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer(valkey_program()).start()
    yield server
    server.close()


def submit(url: str) -> None:
    """Leave something of ours in a broker."""

    async def put() -> None:
        broker = connect(read_settings().broker_config(url), "test")
        await broker.open()
        await broker.submit([Task(run="r", id="t", ranges=((0, 10),))])
        await broker.close()

    asyncio.run(put())


FOREIGN_KEYS: list[tuple[str, ...]] = [
    ("SET", "ttg.maintenance.of.mine", "stays"),
    ("SET", "session:1", "stays"),
    ("RPUSH", "ttg.workers", "a list, not our hash"),
    ("XADD", "orders", "1-1", "item", "stays"),
    ("XADD", "ttg2.tasks", "1-1", "item", "stays"),
]


def plant_keys(url: str) -> None:
    for words in FOREIGN_KEYS:
        ask(url, *words)


def keys_of(url: str) -> dict[str, str]:
    return {key.decode(): ask(url, "TYPE", key).decode() for key in ask(url, "KEYS", "*")}


def test_redis_keeps_every_foreign_key(redis: RedisServer, capsys: Capture) -> None:
    plant_keys(redis.url)
    foreign = keys_of(redis.url)
    submit(redis.url)
    before = keys_of(redis.url)
    assert main(["cleanup", "--broker", redis.url, "--dry-run"]) == 0
    assert keys_of(redis.url) == before
    assert "ttg.tasks: 1" in capsys.readouterr().out
    assert main(["cleanup", "--broker", redis.url, "--force"]) == 0
    assert keys_of(redis.url) == foreign
    assert main(["cleanup", "--broker", redis.url, "--force"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_it_does_not_remove_without_being_told(redis: RedisServer, capsys: Capture) -> None:
    submit(redis.url)
    before = keys_of(redis.url)
    assert main(["cleanup", "--broker", redis.url]) == 2
    assert "--force" in capsys.readouterr().err
    assert keys_of(redis.url) == before


def test_it_asks_at_a_terminal(redis: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    submit(redis.url)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, left in (("", True), ("n", True), ("yes", False)):
        monkeypatch.setattr("builtins.input", lambda _prompt, answer=answer: answer)
        assert main(["cleanup", "--broker", redis.url]) == 0
        assert bool(keys_of(redis.url)) is left
    assert "nothing was removed" in capsys.readouterr().out


def test_an_active_run_is_pointed_out(redis: RedisServer, capsys: Capture) -> None:
    async def publish() -> None:
        broker = connect(read_settings().broker_config(redis.url), "test")
        await broker.change_run("busy", lambda current: RunRecord(run="busy", identity="b", renewed=unix_time()))
        await broker.close()

    asyncio.run(publish())
    assert main(["cleanup", "--broker", redis.url, "--dry-run"]) == 0
    assert "ACTIVE: run busy" in capsys.readouterr().out


def test_one_run_goes_from_the_broker_and_its_neighbours_stay(redis: RedisServer, capsys: Capture) -> None:
    async def put() -> None:
        broker = connect(read_settings().broker_config(redis.url), "test")
        await broker.open()
        for run, renewed in (("over", 1.0), ("next", 1.0), ("busy", unix_time())):
            record = RunRecord(run=run, identity=f"of-{run}", renewed=renewed)
            await broker.change_run(run, lambda _, record=record: record)  # type: ignore[misc]
            await broker.submit([Task(run=run, identity=f"of-{run}", id=f"t-{run}", ranges=((0, 10),))])
        await broker.close()

    asyncio.run(put())
    assert main(["cleanup", "over", "--broker", redis.url, "--dry-run"]) == 0
    assert "would remove: run over in redis" in capsys.readouterr().out
    assert main(["cleanup", "over", "--broker", redis.url, "--force"]) == 0
    assert ask(redis.url, "HKEYS", "ttg.runs") == [b"next", b"busy"]
    assert ask(redis.url, "XLEN", "ttg.tasks") == 2
    assert main(["cleanup", "busy", "--broker", redis.url, "--force"]) == 2
    assert "run busy goes on, led by" in capsys.readouterr().err
    assert main(["cleanup", "over", "--broker", redis.url]) == 2
    assert "no run 'over'" in capsys.readouterr().err


def test_a_coordinator_that_died_here_a_moment_ago_leads_nothing(
    redis: RedisServer, run_folder: Path, capsys: Capture
) -> None:
    """Its lease would be believed for another 15 seconds, while ``ttg status`` says that the run is abandoned."""
    from ttg.results.folder import RunFolder

    spec = RunFolder.open(run_folder).spec
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()

    async def publish(pid: int) -> None:
        broker = connect(read_settings().broker_config(redis.url), "test")
        record = RunRecord(
            run=spec.run, identity=spec.identity, host=socket.gethostname(), pid=pid, renewed=unix_time()
        )
        await broker.change_run(spec.run, lambda _: record)
        await broker.close()

    command = ["cleanup", str(run_folder), "--broker", redis.url, "--force"]
    asyncio.run(publish(os.getpid()))
    assert main(command) == 2
    assert f"run {spec.run} goes on, led by process {os.getpid()}" in capsys.readouterr().err
    asyncio.run(publish(dead.pid))
    assert main(command) == 0
    assert not ask(redis.url, "HKEYS", "ttg.runs")
    assert not run_folder.exists()


def queue_names(server: RabbitMQServer) -> dict[str, str]:
    rows = json.loads(asyncio.run(server.control("list_queues", "name", "messages", "--formatter", "json", "--quiet")))
    return {row["name"]: row["messages"] for row in rows}


def exchange_names(server: RabbitMQServer) -> str:
    return asyncio.run(server.control("list_exchanges", "name", "--quiet"))


def test_rabbitmq_keeps_every_foreign_queue(
    rabbitmq: RabbitMQServer, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    rabbitmq.create("orders", b"one", b"two")
    rabbitmq.create("ttg2.tasks", b"one")
    rabbitmq.create("clicks", b"stays", **{"x-queue-type": "stream"})
    with rabbitmq.channel() as channel:
        channel.exchange_declare("ttg.exchange", durable=True)
    foreign, exchanges = set(queue_names(rabbitmq)), exchange_names(rabbitmq)
    assert main(["cleanup", "--broker", rabbitmq.url, "--force"]) == 0
    assert set(queue_names(rabbitmq)) == foreign, "a look created queues"
    submit(rabbitmq.url)
    before = set(queue_names(rabbitmq))
    assert main(["cleanup", "--broker", rabbitmq.url, "--dry-run"]) == 0
    assert "ttg.tasks: 1" in capsys.readouterr().out
    assert set(queue_names(rabbitmq)) == before
    assert main(["cleanup", "--broker", rabbitmq.url, "--force"]) == 0
    assert set(queue_names(rabbitmq)) == foreign
    assert exchange_names(rabbitmq) == exchanges
    assert rabbitmq.contents("orders") == [b"one", b"two"]


def test_a_queue_of_our_name_that_is_not_ours_is_left_alone(
    rabbitmq: RabbitMQServer, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TTG_NAMESPACE", "theirs")
    rabbitmq.create("theirs.tasks", b"precious", **{"x-queue-type": "classic"})
    assert main(["cleanup", "--broker", rabbitmq.url, "--force"]) == 3
    assert "theirs.tasks exists with other arguments" in capsys.readouterr().err
    assert rabbitmq.contents("theirs.tasks") == [b"precious"]


def test_a_broker_that_does_not_answer_is_said(capsys: Capture) -> None:
    assert main(["cleanup", "--broker", "redis://127.0.0.1:1", "--force"]) == 3
    assert "left alone: redis://127.0.0.1:1 cannot be reached" in capsys.readouterr().err


def test_which_broker_is_never_guessed(capsys: Capture) -> None:
    assert main(["cleanup", "--redis", "--force"]) == 2
    assert "REDIS_HOST" in capsys.readouterr().err


class FakeCluster:
    """A ``kubectl`` that knows resources with and without TTG's label, and forgets what it is told to delete."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state.json"
        self.state.write_text(json.dumps({"pod/ttg-worker": True, "pod/database": False, "secret/login": False}))
        program = folder / "kubectl"
        program.write_text(KUBECTL.format(python=sys.executable, state=self.state))
        program.chmod(0o755)

    def names(self) -> set[str]:
        return set(json.loads(self.state.read_text()))


KUBECTL = """\
#!{python} -IS
import json, sys
state = json.load(open("{state}"))
words = sys.argv[1:]
chosen = [name for name, ours in state.items() if ours or "ttg.io/project=distributed-compute" not in words]
if "get" in words:
    print("\\n".join(chosen))
elif "delete" in words:
    json.dump({{name: ours for name, ours in state.items() if name not in chosen}}, open("{state}", "w"))
elif "current-context" in words:
    print("kind-test")
elif "view" in words:
    print("sandbox", end="")
else:
    sys.exit(f"unexpected: {{words}}")
"""


def test_a_cluster_keeps_what_is_not_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    cluster = FakeCluster(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    everything = cluster.names()
    assert main(["cleanup", "--pods", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "kind-test, namespace ttg" in said
    assert "kind-test, namespace sandbox" in said, "where kubectl points"
    assert "pod/ttg-worker" in said
    assert "database" not in said
    assert cluster.names() == everything
    assert main(["cleanup", "--pods", "--force"]) == 0
    assert cluster.names() == everything - {"pod/ttg-worker"}


def test_a_cluster_that_does_not_answer_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho 'Unable to connect to the server' >&2\nexit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert main(["cleanup", "--all", "--force"]) == 3
    assert "is the cluster up?" in capsys.readouterr().err


def test_a_kubectl_that_knows_no_cluster_is_no_cluster(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho 'error: current-context is not set' >&2\nexit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    submit(redis.url)
    assert main(["cleanup", "--all", "--force", "--broker", redis.url]) == 0
    assert capsys.readouterr().err == ""
    assert main(["cleanup", "--pods", "--force"]) == 3
    assert "`kubectl config get-contexts` lists yours" in capsys.readouterr().err


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    from ttg.results.folder import RunFolder
    from ttg.run.request import new_request
    from ttg.space import grid, range_
    from ttg.spec import FunctionRef

    settings = read_settings()
    request = new_request(FunctionRef("module", "math", "sqrt"), grid(x=range_(3)), settings)
    return RunFolder.create(tmp_path / "run", request.spec, settings.home).path


def test_only_runs_own_files_go(tmp_path: Path, run_folder: Path, capsys: Capture) -> None:
    foreign = tmp_path / "precious"
    foreign.mkdir()
    (run_folder / "notes.txt").write_text("stays")
    assert main(["cleanup", "--runs", "--dry-run"]) == 0
    assert str(run_folder) in capsys.readouterr().out
    assert (run_folder / "run.json").exists()
    assert main(["cleanup", "--runs", "--force"]) == 0
    assert [entry.name for entry in run_folder.iterdir()] == ["notes.txt"]
    assert foreign.exists()
    assert main(["cleanup", "--runs", "--force"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_all_is_no_table(
    tmp_path: Path, redis: RedisServer, run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Finished tables stay beside a clean-up of everything else; they go when they are named."""
    cluster = FakeCluster(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    submit(redis.url)
    assert main(["cleanup", "--all", "--force", "--broker", redis.url]) == 0
    assert str(run_folder) not in capsys.readouterr().out
    assert (run_folder / "run.json").exists()
    assert "pod/ttg-worker" not in cluster.names()
    assert keys_of(redis.url) == {}
    assert main(["cleanup", str(run_folder), "--force"]) == 0
    assert not run_folder.exists()


def test_a_run_that_goes_on_is_left_alone(run_folder: Path) -> None:
    from ttg.results.folder import RunFolder

    with RunFolder.open(run_folder).lock():
        assert main(["cleanup", "--runs", "--force"]) == 0
    assert (run_folder / "run.json").exists()
