"""A run is who it says it is: nothing of another run with its id, or of another life of it, is taken for its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from rabbitmq_server import SecureRabbitMQ
from runs import TtgRun, apply_oracle, eventually
from servers import RedisServer
from ttg.brokers import connect
from ttg.brokers.base import Broker
from ttg.messages import RunRecord
from ttg.settings import read_settings

WORKLOADS = Path(__file__).with_name("identity_workloads.py")
ROUNDS = int(os.environ.get("IDENTITY_ROUNDS", "1"))
SIZE = 400

Day = Callable[[str], TtgRun]


@pytest.fixture(params=["valkey", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str:
    server: RedisServer | SecureRabbitMQ = request.getfixturevalue(request.param)
    return server.url


@pytest.fixture
def namespace() -> str:
    return f"i{uuid4().hex[:8]}"


@pytest.fixture
def day(tmp_path: Path, url: str, namespace: str) -> Iterator[Day]:
    """A place with a registry of its own, from which a run is started on the broker that all places share."""
    runs: list[TtgRun] = []

    def place(name: str) -> TtgRun:
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        environment = {"TTG_BROKER": url, "TTG_NAMESPACE": namespace, "TTG_LEASE_SECONDS": "2"}
        run = TtgRun(home / "run", home, environment)
        runs.append(run)
        return run

    yield place
    for run in runs:
        if run.process is not None and run.process.poll() is None:
            run.process.terminate()
            run.wait()


def start(run: TtgRun, function: str, *options: str, run_id: str = "daily", size: int = SIZE) -> TtgRun:
    target, axis = f"{WORKLOADS}:{function}", f"i=range(0,{size})"
    return run.start("run", target, axis, "--run-id", run_id, "--out", str(run.folder), "--workers", "1", *options)


def expected(function: str) -> Callable[[int], int]:
    return (lambda i: -i) if function == "minus" else (lambda i: i + 1)


def look(url: str, namespace: str, verb: Callable[[Broker], Any]) -> Any:
    """What a client of its own sees in the broker."""

    async def ask() -> Any:
        settings = read_settings({"TTG_NAMESPACE": namespace})
        broker = connect(settings.broker_config(url), "looker")
        try:
            await broker.open()
            return await verb(broker)
        finally:
            await broker.close()

    return asyncio.run(ask())


def has_rows(run: TtgRun) -> Callable[[], bool]:
    return lambda: any(run.folder.glob("results/*.parquet"))


@pytest.mark.parametrize("round", range(ROUNDS))
def test_one_id_after_the_other(day: Day, round: int) -> None:
    for name, function in (("monday", "plus"), ("tuesday", "minus"), ("wednesday", "plus")):
        run = start(day(name), function)
        assert run.wait() == 0, run.said()
        apply_oracle(run.folder, SIZE, expected(function), dead=set())
    apply_oracle(day("monday").folder, SIZE, expected("plus"), dead=set())


@pytest.mark.parametrize("round", range(ROUNDS))
def test_one_id_at_once_is_refused_with_who_and_where(day: Day, round: int) -> None:
    first = start(day("first"), "slow_plus")
    eventually(lambda: first.folder.joinpath("logs").exists() and "%" in first.said(), "the first run is under way")
    second = start(day("second"), "minus")
    assert second.wait() == 2, second.said()
    assert "identity_workloads.py:slow_plus, 400 parameters, led by" in second.said()
    assert f"process {first.pid} on" in second.said()
    assert not second.folder.exists()
    assert first.wait() == 0, first.said()
    apply_oracle(first.folder, SIZE, expected("plus"), dead=set())


@pytest.mark.parametrize("round", range(ROUNDS))
def test_of_two_that_start_together_each_is_right_or_refused(day: Day, round: int) -> None:
    runs = {"slow_plus": start(day("first"), "slow_plus", size=100), "minus": start(day("second"), "minus", size=100)}
    codes = {function: run.wait() for function, run in runs.items()}
    assert set(codes.values()) <= {0, 2}
    assert 0 in codes.values()
    for function, code in codes.items():
        if code == 0:
            apply_oracle(runs[function].folder, 100, expected(function), dead=set())
        else:
            assert "is in use" in runs[function].said()


def test_a_killed_coordinator_is_seen_as_gone_and_its_run_goes_on(day: Day, url: str, namespace: str) -> None:
    first = start(day("first"), "slow_plus")
    eventually(has_rows(first), "something is on disk")
    first.kill()
    status = ask_ttg(first, "status", "daily")
    assert "coordinator gone" in status
    assert "`ttg resume daily` goes on" in status
    (brief,) = [json.loads(line) for line in ask_ttg(first, "runs", "--json").splitlines()]
    assert brief["state"] == "abandoned"
    eventually(lambda: look(url, namespace, status_of("daily")) == "abandoned", "the broker's record tells it, too")
    again = day("first").start("resume", "daily", "--workers", "1")
    assert again.wait() == 0, again.said()
    apply_oracle(first.folder, SIZE, expected("plus"), dead=set())
    assert "finished" in ask_ttg(first, "status", "daily")


def ask_ttg(run: TtgRun, *arguments: str) -> str:
    environment = {**os.environ, "TTG_HOME": str(run.home), **run.environment}
    command = [sys.executable, "-m", "ttg", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def status_of(run: str) -> Callable[[Broker], Any]:
    from ttg.clock import unix_time

    async def ask(broker: Broker) -> str:
        record: RunRecord | None = await broker.find_run(run, fresh=True)
        return str(record.status_at(unix_time())) if record else "unknown"

    return ask


def test_what_a_ghost_left_is_neither_executed_nor_collected_by_another_run(day: Day, url: str, namespace: str) -> None:
    ghost = start(day("ghost"), "slow_plus")
    eventually(has_rows(ghost), "the ghost has rows")
    ghost.kill()
    eventually(lambda: look(url, namespace, status_of("daily")) == "abandoned", "its lease has run out")
    other = start(day("other"), "minus")
    assert other.wait() == 0, other.said()
    apply_oracle(other.folder, SIZE, expected("minus"), dead=set())
    back = day("ghost").start("resume", str(ghost.folder), "--workers", "1")
    assert back.wait() == 0, back.said()
    apply_oracle(ghost.folder, SIZE, expected("plus"), dead=set())


async def supersede(broker: Broker) -> None:
    """Somebody else takes the run up, somewhere else."""

    def newer(current: RunRecord | None) -> RunRecord:
        assert current is not None
        return msgspec.structs.replace(current, epoch=current.epoch + 1, coordinator="newer", host="elsewhere")

    await broker.change_run("daily", newer)


@pytest.mark.parametrize("with_rows", [True, False], ids=["with rows", "without"])
def test_an_older_coordinator_of_a_run_leaves_it_and_its_folder_to_the_newer(
    day: Day, url: str, namespace: str, with_rows: bool
) -> None:
    first = start(day("first"), "slow_plus", size=2_000)
    if with_rows:
        eventually(has_rows(first), "the first is under way")
    else:
        eventually(lambda: look(url, namespace, status_of("daily")) == "active", "the run is claimed")
        eventually(lambda: first.info()["epoch"] == 1, "its folder says so")
    look(url, namespace, supersede)
    before = first.info()
    assert first.wait() == 2, first.said()
    assert "led by another coordinator now (process" in first.said()
    assert "elsewhere" in first.said()
    assert first.info() == before, "its folder is the newer one's"


def test_a_finished_run_whose_resumption_is_refused_stays_finished(day: Day) -> None:
    monday = start(day("monday"), "plus")
    assert monday.wait() == 0, monday.said()
    before = monday.info()
    tuesday = start(day("tuesday"), "slow_plus", size=2_000)
    eventually(lambda: "%" in tuesday.said(), "the other run is under way")
    again = day("monday").start("resume", str(monday.folder), "--workers", "1")
    assert again.wait() == 2, again.said()
    assert "'daily' is in use" in again.said()
    assert monday.info() == before
