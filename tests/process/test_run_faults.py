"""Kill anything, at any moment: nothing is lost, nothing is counted twice, nothing stays behind.

`FAULT_ROUNDS=20` repeats each with other moments; moments are drawn from a seeded generator.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from workloads import value

from runs import TtgRun, apply_oracle, command_of, descendants_of, eventually, is_running

WORKLOADS = str(Path(__file__).with_name("workloads.py"))
ROUNDS = range(int(os.environ.get("FAULT_ROUNDS", "2")))
SIZE = 3000


def start(ttg: TtgRun, *more: str) -> None:
    ttg.environment = {"CALLS_FILE": str(ttg.home / "calls")}
    arguments = ("--workers", "2", "--chunk-size", "50", "--out", str(ttg.folder), *more)
    ttg.start("run", f"{WORKLOADS}:slow", f"i=range(0,{SIZE})", *arguments)


def wait_for_progress(ttg: TtgRun, seed: int) -> None:
    """Until a random number of calls was made: at least several chunks, at most half of the run."""
    calls = random.Random(seed).randint(400, SIZE // 2)
    eventually(lambda: _size_of(ttg.home / "calls") >= calls, f"{calls} calls")


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_worker_is_killed(ttg: TtgRun, seed: int) -> None:
    start(ttg, "--no-replace")
    wait_for_progress(ttg, seed)
    os.kill(random.Random(seed).choice(ttg.workers()), signal.SIGKILL)
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_child_is_killed(ttg: TtgRun, seed: int) -> None:
    start(ttg, "--retry-delay", "100ms")
    wait_for_progress(ttg, seed)
    os.kill(random.Random(seed).choice(ttg.slots()), signal.SIGKILL)
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())


@pytest.mark.parametrize("seed", ROUNDS)
def test_the_coordinator_is_killed_and_the_run_resumed(ttg: TtgRun, seed: int) -> None:
    start(ttg)
    wait_for_progress(ttg, seed)
    below = descendants_of(ttg.pid)
    ttg.kill()
    eventually(lambda: not [command_of(pid) for pid in below if is_running(pid)], "no orphan stays behind")
    again = TtgRun(ttg.folder, ttg.home, ttg.environment)
    again.start("resume", str(ttg.folder), "--workers", "2")
    assert again.wait() == 0, again.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())


def test_ctrl_c_drains_and_says_how_to_go_on(ttg: TtgRun) -> None:
    start(ttg)
    wait_for_progress(ttg, 1)
    below = descendants_of(ttg.pid)
    os.kill(ttg.pid, signal.SIGINT)
    assert ttg.wait() == 4, ttg.said()
    assert "ttg resume" in ttg.said()
    eventually(lambda: not [command_of(pid) for pid in below if is_running(pid)], "no process stays behind")
    assert ttg.info()["state"] == "interrupted"
    assert 0 < ttg.info()["done"] < SIZE
    again = TtgRun(ttg.folder, ttg.home, ttg.environment)
    assert again.start("resume", "last", "--workers", "1").wait() == 0, again.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())


def test_all_workers_die_and_are_replaced(ttg: TtgRun) -> None:
    start(ttg)
    wait_for_progress(ttg, 3)
    for pid in ttg.workers():
        os.kill(pid, signal.SIGKILL)
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())


def test_the_embedded_broker_is_killed_and_comes_back(ttg: TtgRun) -> None:
    start(ttg)
    wait_for_progress(ttg, 4)
    server = int((ttg.folder / "broker" / "server.pid").read_text())
    os.kill(server, signal.SIGKILL)
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())


def test_a_second_coordinator_is_refused(ttg: TtgRun) -> None:
    start(ttg)
    wait_for_progress(ttg, 5)
    second = TtgRun(ttg.folder, ttg.home)
    before = len(ttg.said())
    assert second.start("resume", str(ttg.folder)).wait() == 2
    assert f"pid {ttg.pid}" in second.said()[before:]
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())


def test_a_changed_function_is_not_resumed_without_force(ttg: TtgRun, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    calls = tmp_path / "calls"
    module.write_text(f"def f(i):\n    open({str(calls)!r}, 'ab').write(b'.')\n    return i\n")
    arguments = ("--workers", "1", "--chunk-size", "20", "--out", str(ttg.folder))
    ttg.start("run", f"{module}:f", f"i=range(0,{SIZE})", *arguments)
    eventually(lambda: _size_of(calls) > 200, "some calls")
    os.kill(ttg.pid, signal.SIGINT)
    assert ttg.wait() == 4, ttg.said()
    module.write_text("def f(i):\n    return i + 0\n")
    refused = TtgRun(ttg.folder, ttg.home)
    assert refused.start("resume", "last").wait() == 2
    assert "has changed" in refused.said()
    assert "--force" in refused.said()
    assert TtgRun(ttg.folder, ttg.home).start("resume", "last", "--force").wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, lambda i: i, dead=set())
