"""``ttg.start``: a run that goes on meanwhile, and rows that come as they are known; ``FAULT_ROUNDS=20`` repeats."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_workloads import slow
from tests.process.sites import RabbitMQSite

import ttg
from runs import children_of, command_of, descendants_of, eventually
from ttg.errors import RunStopped

ROUNDS = range(int(os.environ.get("FAULT_ROUNDS", "1")))

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Runs are made and registered in the test's own folder, and leave no process."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not workers_here(), "a run left workers"


def workers_here() -> list[int]:
    return [pid for pid in children_of(os.getpid()) if "ttg worker" in command_of(pid)]


def test_rows_come_while_the_run_goes_on() -> None:
    run = ttg.start(slow, {"x": range(60)}, workers=2, retries=0)
    rows, going = [], 0
    for row in run.as_completed():
        rows.append(row)
        going += run.progress.state == "active"
    assert going > 10
    assert sorted(row["index"] for row in rows) == list(range(60))
    (failed,) = [row for row in rows if row.failure]
    assert (failed["x"], failed.failure and failed.failure["error"]) == (5, "ZeroDivisionError")
    table = {row["index"]: row for row in run.wait()}
    assert {row["index"]: row for row in rows if not row.failure} == table
    now = run.progress
    assert (now.total, now.done, now.dead, now.state) == (60, 59, 1, "finished_with_dead_letters")
    assert len(list(run.as_completed())) == 60, "also afterwards, from the first row on"


def test_a_reader_that_leaves_does_not_end_the_run() -> None:
    run = ttg.start(slow, {"x": range(6, 60)}, workers=2)
    assert next(run.as_completed())["result"] > 0
    with pytest.raises(TimeoutError, match=f"run {run.id} goes on after 0 s: .* of 54 are settled"):
        run.wait(0)
    assert (len(run.wait()), run.wait(0).status) == (54, "finished")


def test_in_an_event_loop_which_is_not_blocked() -> None:
    async def rows() -> None:
        run = ttg.start(slow, {"x": range(6, 60)}, workers=2)
        beats, ended = list[float](), asyncio.ensure_future(run)

        def beat() -> None:
            beats.append(loop.time())
            if not ended.done():
                loop.call_later(0.01, beat)

        loop = asyncio.get_running_loop()
        beat()
        await ended
        assert len(beats) > 5
        assert [row["x"] async for row in run] == [row["x"] for row in run.as_completed()]
        assert len(await run) == 54

    asyncio.run(rows())


def test_what_stops_a_run_is_raised_behind_its_rows() -> None:
    run = ttg.start(slow, {"x": range(5, 500)}, workers=1, retries=0, fail_fast=True)
    rows = []
    with pytest.raises(RunStopped):
        rows.extend(run.as_completed())
    assert any(row.failure for row in rows)
    with pytest.raises(RunStopped):
        run.wait()


def test_cancelling_keeps_what_is_settled() -> None:
    run = ttg.start(slow, {"x": range(6, 100_000)}, workers=1)
    next(run.as_completed())
    run.cancel()
    ended = run.wait()
    assert ended.status == run.progress.state == "cancelled"
    assert len(ended) == len(list(run.as_completed())) > 0
    soon = ttg.start(slow, {"x": range(6, 100_000)}, workers=1)
    soon.cancel()
    assert soon.wait().status == "cancelled"


def test_a_run_that_nothing_refers_to_is_drained() -> None:
    run = ttg.start(slow, {"x": range(6, 100_000)}, workers=1)
    next(run.as_completed())
    id = run.id
    del run
    gc.collect()
    eventually(lambda: ttg.open_run(id).status == "interrupted", "the run was drained")
    assert len(ttg.open_run(id)) > 0
    eventually(lambda: not workers_here(), "its workers ended")


def script(body: str, folder: Path) -> subprocess.Popen[str]:
    text = "import time, ttg\ndef slow(x):\n    time.sleep(0.02)\n    return x\n" + textwrap.dedent(body)
    (folder / "script.py").write_text(text)
    return subprocess.Popen(
        [sys.executable, "script.py"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


ENDS = {
    "exit": ("print('row', flush=True)\n    break", 0, "the program ends before run r does"),
    "ctrl_c": ("print('row', flush=True)", -signal.SIGINT, "ttg.resume('r') goes on"),
    "async": ("print('row', flush=True)\n    asyncio.run(waiting())", -signal.SIGINT, "ttg.resume('r') goes on"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_ends_leaves_a_run_that_can_be_resumed(home: Path, end: str) -> None:
    does, code, words = ENDS[end]
    run = "run = ttg.start(slow, {'x': range(400)}, workers=2, run_id='r', chunk_size=1)\n"
    run += "import asyncio\nasync def waiting():\n    await run\n"
    program = script(run + f"for row in run.as_completed():\n    {does}\n", home)
    assert program.stdout is not None
    assert program.stdout.readline() == "row\n"
    below = descendants_of(program.pid)
    if code:
        program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)
    assert (program.returncode, words in said) == (code, True), said
    eventually(lambda: not [pid for pid in below if "ttg" in command_of(pid)], "its processes ended")
    left = ttg.open_run("r")
    assert left.status == "interrupted"
    assert 0 < len(left) < 400
    assert len(ttg.resume("r", progress=False, workers=2)) == 400


@pytest.fixture(scope="module", params=["embedded", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "embedded":
        yield None
        return
    site = RabbitMQSite(request.getfixturevalue("rabbitmq"))
    yield site.url
    site.close()


def a_worker() -> int:
    return random.choice(workers_here())


def a_child() -> int:
    return random.choice([child for worker in workers_here() for child in children_of(worker)])


@pytest.mark.parametrize("round", ROUNDS)
@pytest.mark.parametrize("victim", [a_child, a_worker])
def test_who_is_killed_costs_the_reader_no_row(broker: str | None, victim: Callable[[], int], round: int) -> None:
    options: dict[str, Any] = {"broker": broker, "namespace": f"live-{os.getpid()}"} if broker else {}
    run = ttg.start(slow, {"x": range(6, 106)}, workers=2, retry_delay=0.1, **options)
    rows = []
    for row in run.as_completed():
        rows.append(row)
        if len(rows) == 20:
            os.kill(eventually(lambda: victim_or_none(victim), "somebody to kill"), signal.SIGKILL)
    assert sorted(row["index"] for row in rows) == list(range(100))
    assert all(row["result"] == 1 / (row["x"] - 5) for row in rows)
    assert run.wait().status == "finished"


def victim_or_none(victim: Callable[[], int]) -> int | None:
    try:
        return victim()
    except IndexError:
        return None
