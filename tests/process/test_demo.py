"""``ttg demo`` with scales that take a second or two: every fault, what is said, what is measured, what is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rabbitmq_server import RabbitMQServer
from runs import TtgRun, descendants_of, eventually, is_running
from servers import RedisServer, valkey_program
from tools import need_broker
from ttg import __version__
from ttg.brokers import connect
from ttg.demo.measure import DataCheck, check_rows
from ttg.demo.own_function import OwnFunction
from ttg.demo.perform import DemoConfig, check_config, perform
from ttg.demo.report import write_report
from ttg.demo.tables import DemoResult, metric_rows
from ttg.demo.workload import Scale
from ttg.errors import SettingsError
from ttg.run.reporter import Silent
from ttg.settings import read_settings
from ttg.space import grid, range_
from ttg.spec import FunctionRef

TINY = Scale("tiny", 60, 3, 20.0)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoConfig:
    for name in ("REDIS_HOST", "RABBITMQ_HOST", "TTG_BROKER", "QUEUE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TTG_RETRY_DELAY_MS", "200")
    return DemoConfig("redis", TINY, 2, None, 0.3, tmp_path / "demo", read_settings())


def show(config: DemoConfig) -> tuple[DemoResult, str]:
    """Perform it; the result and everything that was said."""
    said: list[str] = []
    result = asyncio.run(perform(config, said.append, Silent()))
    return result, "\n".join(said)


def test_without_a_fault(config: DemoConfig) -> None:
    result, said = show(config)
    assert result.check == DataCheck(60, 60, 0, 0, 0, 0)
    observed = {metric: observed for metric, _, observed, _ in metric_rows(result)}
    assert observed["chunks"] == "20/20"
    assert observed["workers started"] == "2"
    assert observed["data loss"].startswith("0 (60 of 60 present once, values verified)")
    assert {row[-1] for row in metric_rows(result) if row[0] not in ("runtime", "throughput")} == {"✔"}
    assert "ttg.results" in said
    assert not (config.out / "redis").exists(), "without --skip-cleanup a run leaves only its report"


@pytest.mark.parametrize("fault", ["worker", "child", "broker"])
def test_a_fault_is_recovered_from(config: DemoConfig, fault: str) -> None:
    result, said = show(replace(config, fault=fault))
    assert result.check.passed
    assert result.seen.fault_share is not None
    assert 0.3 <= result.seen.fault_share < 0.9
    assert f"⚡ {100 * result.seen.fault_share:.0f} %" in said
    assert "SIGKILL" in result.seen.fault_text
    if fault == "worker":
        assert result.seen.recovery_seconds is not None
        assert "its work was taken over" in said


@pytest.mark.parametrize("fault", ["freeze", "network"])
def test_a_silent_worker_loses_its_lease(config: DemoConfig, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttg.demo.perform.LEASE_SECONDS", 1.0)
    scale = Scale("long enough for a worker to come", 240, 3, 20.0) if fault == "network" else TINY
    result, _ = show(replace(config, fault=fault, scale=scale))
    assert result.check.passed
    assert result.seen.recovery_seconds is not None
    assert result.seen.victim


def test_on_a_rabbitmq_that_others_use(
    config: DemoConfig, rabbitmq: RabbitMQServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTG_BROKER", rabbitmq.url)
    monkeypatch.setenv("TTG_NAMESPACE", "demo")
    rabbitmq.create("invoices", b"stays")
    result, said = show(replace(config, backend="rabbitmq", fault="worker", settings=read_settings()))
    assert result.check.passed
    assert "demo.results" in result.queues
    assert "the environment names" in said
    assert rabbitmq.contents("invoices") == [b"stays"]


@pytest.mark.parametrize("keep", [False, True])
def test_cleaning_up_on_a_broker_that_others_use(
    config: DemoConfig, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RedisServer(valkey_program()).start()
    monkeypatch.setenv("TTG_BROKER", server.url)
    result, _ = show(replace(config, keep=keep))

    async def left() -> int:
        broker = connect(read_settings().broker_config(server.url), "test")
        try:
            return (await broker.stats()).queue("results").messages
        finally:
            await broker.close()

    assert asyncio.run(left()) == (20 if keep else 0)
    assert bool(result.folder and Path(result.folder).exists()) is keep
    server.close()


def test_a_broker_that_others_use_is_not_killed(config: DemoConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTG_BROKER", "redis://127.0.0.1:1")
    with pytest.raises(SettingsError, match="not ours to kill"):
        show(replace(config, fault="broker"))


def test_the_users_own_function(config: DemoConfig, tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text("def f(a, seed):\n    return {'twice': 2 * a, 'odd': bool(a % 2), 'seed': seed}\n")
    own = OwnFunction(FunctionRef("file", str(source), "f"), grid(a=range_(40)))
    result, _ = show(replace(config, own=own, scale=Scale("mine", 40, None, 0.0)))
    assert str(result.check) == "40 of 40 present once, values verified"


def test_a_function_that_is_not_repeatable_is_found_out(config: DemoConfig, tmp_path: Path) -> None:
    source = tmp_path / "fickle.py"
    source.write_text("import os\ndef f(a):\n    return os.getpid()\n")
    own = OwnFunction(FunctionRef("file", str(source), "f"), grid(a=range_(10)))
    result, _ = show(replace(config, own=own, scale=Scale("fickle", 10, None, 0.0)))
    assert not result.check.passed
    assert "10 values WRONG" in str(result.check)


def test_the_report(config: DemoConfig) -> None:
    result, _ = show(replace(config, fault="worker"))
    markdown, data, page = write_report([result, result], config.out, "ttg demo --fault-demo")
    assert "| data loss | 0 |" in markdown.read_text()
    assert json.loads(data.read_text())["runs"][0]["passed"] is True
    html = page.read_text()
    assert html.count("<svg") == 4
    assert f"ttg {__version__}, " in html
    assert "ttg demo --fault-demo" in html
    assert {row[-1] for row in metric_rows(result)} <= {"✔", "✘"}
    assert "http" not in html.replace("http://www.w3.org", ""), "a page that needs nothing but itself"


@pytest.mark.parametrize(
    "changes",
    [{"fault": "earthquake"}, {"workers": 0}, {"fault": "worker", "workers": 1}, {"fault_share": 1.0}],
    ids=str,
)
def test_what_cannot_be_shown_is_refused(config: DemoConfig, changes: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="expected"):
        check_config(replace(config, **changes))  # type: ignore[arg-type]


def test_the_oracle_finds_every_kind_of_loss() -> None:
    rows = [(0, 0), (1, 1), (1, 1), (3, 99)]
    check = check_rows(6, rows, [4], lambda index: index)
    assert (check.duplicates, check.missing, check.wrong, check.dead) == (1, 2, 1, 1)
    assert not check.passed
    assert str(check) == "4 of 6 present once, 1 values WRONG, 1 dead letters, 2 MISSING, 1 TWICE"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demonstration_can_be_resumed(ttg: TtgRun, number: signal.Signals, tmp_path: Path) -> None:
    ttg.start("demo", "--report", str(tmp_path / "report"))
    eventually(lambda: len(ttg.slots()) == 3, "the workers have children")
    os.kill(ttg.pid, number)
    assert ttg.wait() == 4
    assert "`ttg resume demo-redis-" in ttg.said()
    assert (tmp_path / "report" / "redis" / "run.json").exists()


def test_two_interrupts_end_it_at_once(ttg: TtgRun, tmp_path: Path) -> None:
    ttg.start("demo", "--report", str(tmp_path / "report"))
    eventually(lambda: len(ttg.slots()) == 3, "the workers have children")
    os.kill(ttg.pid, signal.SIGINT)
    os.kill(ttg.pid, signal.SIGINT)
    assert ttg.wait() == 4


def test_an_interrupt_while_the_private_node_starts_leaves_nothing(ttg: TtgRun, tmp_path: Path) -> None:
    need_broker("rabbitmq")
    ttg.start("demo", "--backend", "rabbitmq", "--report", str(tmp_path / "report"))
    below = eventually(lambda: len(found := descendants_of(ttg.pid)) > 3 and found, "the node is starting")
    os.kill(ttg.pid, signal.SIGINT)
    assert ttg.wait() == 4
    eventually(lambda: not [pid for pid in below or () if is_running(pid)], "the node is gone")
    assert not (tmp_path / "report" / "rabbitmq-node").exists()


def test_two_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO.format(folder=tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_environment(tmp_path)) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]


TWO = """
import asyncio, os, pathlib
from ttg.demo.perform import DemoConfig, perform
from ttg.demo.workload import Scale
from ttg.run.reporter import Silent
from ttg.settings import read_settings
out = pathlib.Path("{folder}") / str(os.getpid())
config = DemoConfig("redis", Scale("t", 20, 2, 5.0), 1, None, 0.3, out, read_settings())
result = asyncio.run(perform(config, print, Silent()))
assert result.check.passed
"""


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "TTG_HOME": str(home / "home")}
