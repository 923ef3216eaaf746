"""``ttg.workers``: one set of workers for several runs and calls; and ``ttg.map``."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import call_workloads as calls
import numpy as np
import pytest
from live_workloads import slow

import ttg
from runs import children_of, command_of, descendants_of, eventually
from ttg.errors import RunStopped, SettingsError

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run that finds no workers open makes its own here; nothing is left of any."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    eventually(lambda: not workers_here(), "no worker is left")
    assert not list(tmp_path.glob("ttg-workers-*")), "no folder is left"


def workers_here() -> list[int]:
    return [pid for pid in children_of(os.getpid()) if "ttg worker" in command_of(pid)]


def workers_of(run: ttg.Run) -> set[Any]:
    return set(run.table(["worker"])["worker"].to_pylist())


def test_runs_of_all_threads_use_the_same_workers() -> None:
    with ttg.workers(2) as workers:
        pids = workers_here()
        assert (len(pids), "2 workers" in repr(workers)) == (2, True)
        runs = [ttg.run(lambda x: x + 1, {"x": range(50)}, progress=False), ttg.run(slow, {"x": [1]}, progress=False)]
        thread = threading.Thread(target=lambda: runs.append(ttg.run(slow, {"x": [2]}, progress=False)))
        live = ttg.start(slow, {"x": range(6, 60)})
        thread.start()
        thread.join()
        runs.append(live.wait())
        assert [len(run) for run in runs] == [50, 1, 1, 54]
        assert workers_here() == pids
        assert ttg.run("math:sqrt", [{"x": 4}], progress=False)[0]["result"] == 2
        with ttg.Executor() as executor:
            assert executor.submit(pow, 2, 3).result() == 8
            assert list(ttg.map(calls.square, range(5))) == [0, 1, 4, 9, 16]
            assert workers_here() == pids
        names = set().union(*map(workers_of, runs))
        own = ttg.run(slow, {"x": [3]}, workers=1, progress=False)
        assert not workers_of(own) & names, "who asks for others gets them"
    assert not workers_of(ttg.run(slow, {"x": [4]}, progress=False)) & names
    assert len(ttg.resume(runs[0].id, progress=False)) == 50


def test_what_fails_is_said_soon() -> None:
    with ttg.workers(1):
        failed = ttg.run(slow, {"x": [5]}, retries=0, progress=False)
        assert failed.status == "finished_with_dead_letters"
        Path("broken.py").write_text("import nothing_of_that_name\ndef f(x): return x\n")
        with pytest.raises(ttg.TTGError, match="nothing_of_that_name"):
            ttg.run("broken.py:f", {"x": [1]}, progress=False)
    with pytest.raises(SettingsError, match="at least one worker, got 0"):
        ttg.workers(0)


@pytest.mark.parametrize(
    "victim", [workers_here, lambda: [child for pid in workers_here() for child in children_of(pid)]]
)
def test_who_is_killed_is_replaced(victim: Callable[[], list[int]]) -> None:
    with ttg.workers(2):
        run = ttg.start(slow, {"x": range(6, 106)}, retry_delay=0.1)
        rows = []
        for row in run.as_completed():
            rows.append(row)
            if len(rows) == 10:
                os.kill(eventually(victim, "somebody to kill")[0], signal.SIGKILL)
        assert sorted(row["index"] for row in rows) == list(range(100))
        eventually(lambda: len(workers_here()) == 2, "two workers are there again")
        assert ttg.run(slow, {"x": range(6, 20)}, progress=False).status == "finished"


def test_cancelled_and_interrupted_runs_leave_the_workers_to_others() -> None:
    with ttg.workers(1):
        run = ttg.start(slow, {"x": range(6, 100_000)})
        next(run.as_completed())
        run.cancel()
        assert run.wait().status == "cancelled"
        assert ttg.run(slow, {"x": [1]}, progress=False)[0]["result"] == -0.25


ENDS = {
    "exit": ("raise SystemExit(0)", 0),
    "error": ("1 / 0", 1),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "with a run": ("run = ttg.start(f, {'x': range(10**9)}); next(run.as_completed())", 0),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_ends_leaves_nothing(home: Path, end: str) -> None:
    does, code = ENDS[end]
    text = "import os, signal, sys, ttg\ndef f(x): return x\nworkers = ttg.workers(2)\nprint('made', flush=True)\n"
    text += f"sys.stdin.readline()\n{does}\n"
    (home / "script.py").write_text(text)
    program = subprocess.Popen(
        [sys.executable, "script.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "made\n"
    below = descendants_of(program.pid)
    assert len(below) >= 4
    program.communicate("\n", timeout=60)
    assert program.returncode == code
    eventually(lambda: not [pid for pid in below if "ttg" in command_of(pid)], "its processes ended")
    if end == "with a run":
        assert ttg.open_run().status == "interrupted"
        assert len(ttg.open_run()) > 0
    if end == "killed":  # whoever kills it leaves the folder of its logs
        for folder in home.glob("ttg-workers-*"):
            folder.rename(home / "left")
    else:
        assert not list(home.glob("ttg-*/")) or list(home.glob("ttg-*/")) == [home / "ttg-runs"]


def test_map_gives_values_in_order_and_is_not_far_ahead() -> None:
    with ttg.workers(1):
        asked = itertools.count()
        values = ttg.map(pow, asked, itertools.repeat(2), buffersize=10)
        assert [next(values) for _ in range(20)] == [x * x for x in range(20)]
        assert next(asked) <= 31
        values.close()  # type: ignore[attr-defined]
        values = ttg.map(calls.fail, ["this"])
        with pytest.raises(KeyError, match="this") as raised:
            next(values)
        assert "in fail" in str(raised.value.__cause__)
        assert list(values) == []


def test_executors_with_one_worker_have_large_arguments_of_their_own() -> None:
    array = np.ones(1_000_000)
    with ttg.workers(1), ttg.Executor() as first, ttg.Executor() as second:
        values = [executor.submit(calls.total, n * array).result(60) for n, executor in enumerate([first, second] * 2)]
    assert values == [0.0, 1e6, 2e6, 3e6]


def test_what_raises_while_a_map_begins_is_raised_and_nothing_goes_on(tmp_path: Path) -> None:
    def numbers() -> Iterator[int]:
        yield from range(50)
        raise ValueError("no more")

    with ttg.workers(1):
        with pytest.raises(ValueError, match="no more"):
            ttg.map(calls.slow_square, numbers(), itertools.repeat(0.0), itertools.repeat(str(tmp_path)))
        with ttg.Executor() as executor:
            assert executor.submit(calls.square, 2).result() == 4
    assert len([path for path in tmp_path.iterdir() if path.name.isdigit()]) < 50


def test_a_forked_process_need_not_wait_for_workers_of_another() -> None:
    with ttg.workers(1) as workers:
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            workers.close()
            os._exit(42)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_who_uses_workers_that_are_closed_is_told_so() -> None:
    with ttg.workers(1) as workers, ttg.Executor() as executor:
        run = ttg.start(slow, {"x": range(10_000)}, progress=False)
        eventually(lambda: run.progress.done, "the run has begun")
        future = executor.submit(signal.pause)
        workers._session.close()
        with pytest.raises(BrokenExecutor, match=r"the ttg.workers that this used were closed"):
            future.result(60)
    with pytest.raises(RunStopped, match=r"the ttg.workers that this used were closed"):
        run.wait(60)
