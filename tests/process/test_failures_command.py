"""Dead letters on the command line: looking at them, exporting them, trying them again; hopeless and cancelled runs."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from runs import TtgRun, apply_oracle, eventually
from servers import RedisServer, ask
from ttg.messages import RunEnded, RunRecord, RunStatus, WorkerHeartbeat
from ttg.run.cancel import Participants
from ttg.seeds import seed_for

WORKLOADS = str(Path(__file__).with_name("failing_workloads.py"))
SIZE = 300
ODD, KEYS = set(range(7, SIZE, 50)), set(range(3, SIZE, 100))
FAST = ("--workers", "1", "--retries", "1", "--retry-delay", "10ms")


def ttg_says(ttg: TtgRun, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    environment = {**os.environ, "TTG_HOME": str(ttg.home), **ttg.environment}
    done = subprocess.run([sys.executable, "-m", "ttg", *arguments], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def fragile(ttg: TtgRun, tmp_path: Path) -> TtgRun:
    """A run that ended with nine dead letters of two causes."""
    ttg.environment = {"MENDED": str(tmp_path / "mended")}
    ttg.start("run", f"{WORKLOADS}:fragile", f"i=range(0,{SIZE})", "--out", str(ttg.folder), *FAST)
    assert ttg.wait() == 5, ttg.said()
    apply_oracle(ttg.folder, SIZE, lambda i: i * 2, dead=ODD | KEYS)
    return ttg


def test_they_are_listed_grouped_shown_and_exported(fragile: TtgRun, tmp_path: Path) -> None:
    code, said = ttg_says(fragile, "failed")
    assert code == 0
    assert "9 dead letters" in said
    assert "failed  6 × ValueError at failing_workloads.py:18 (fragile): odd one: " in fragile.said()
    assert ", and 1 other cause" in fragile.said()
    code, said = ttg_says(fragile, "failed", "last", "--group", "--json")
    groups = [json.loads(line) for line in said.splitlines()]
    assert [(group["count"], group["error"]) for group in groups] == [(6, "ValueError"), (3, "KeyError")]
    code, said = ttg_says(fragile, "failed", "show", "57")
    assert "odd one: 57" in said
    assert f"seed         {seed_for(0, 57)}\n" in said
    assert "`ttg call " in said
    assert "failing_workloads.py" in said
    assert said.endswith("it printed, to standard output and standard error:\nlooking at 57\n")
    code, said = ttg_says(fragile, "logs", "last", "57")
    assert [line.partition("]: ")[2] for line in said.splitlines()] == ["looking at 57"] * 2, "in both attempts"
    code, said = ttg_says(fragile, "failed", "show", "8")
    assert code == 2
    assert "no dead letter" in said
    exported = tmp_path / "letters.csv"
    assert ttg_says(fragile, "failed", "--export", str(exported))[0] == 0
    with exported.open() as file:
        assert {int(row["index"]) for row in csv.DictReader(file)} == ODD | KEYS
    assert ttg_says(fragile, "failed", "--export", "letters.xml")[0] == 2


def test_a_retry_moves_them_from_the_dead_to_the_done(fragile: TtgRun, tmp_path: Path) -> None:
    code, said = ttg_says(fragile, "retry", "last", "--index", "7,57", "--workers", "1")
    assert code == 5, said
    apply_letters_twice(fragile, ODD | KEYS)
    (tmp_path / "mended").touch()
    code, said = ttg_says(fragile, "retry", "last", "--group", "KeyError", "--workers", "1")
    assert code == 5, said
    assert fragile.info()["dead"] == len(ODD)
    code, said = ttg_says(fragile, "retry", "last", "--workers", "1")
    assert code == 0, said
    assert (fragile.info()["done"], fragile.info().get("dead", 0)) == (SIZE, 0)
    assert ttg_says(fragile, "retry", "last")[0] == 2, "nothing is left to retry"


def apply_letters_twice(run: TtgRun, dead: set[int]) -> None:
    """What failed again is dead again, once."""
    info = run.info()
    assert (info["done"], info["dead"]) == (SIZE - len(dead), len(dead))


def test_a_hopeless_run_ends_early_and_resumably(ttg: TtgRun) -> None:
    arguments = ("--max-failures", "10", "--chunk-size", "5", "--out", str(ttg.folder), *FAST)
    ttg.start("run", f"{WORKLOADS}:hopeless", "i=range(0,100000)", *arguments)
    assert ttg.wait() == 4, ttg.said()
    assert "--max-failures" in ttg.said()
    assert "mostly of RuntimeError at failing_workloads.py:25 (hopeless): nothing works" in ttg.said()
    assert 10 < ttg.info()["dead"] < 5_000


def test_a_run_in_which_everything_fails_says_so_at_once_and_can_stop(ttg: TtgRun) -> None:
    """Long before the first retry is due."""
    arguments = ("i=range(0,100000)", "--fail-fast", "--retry-delay", "1h", "--out", str(ttg.folder), "--workers", "1")
    ttg.start("run", f"{WORKLOADS}:hopeless", *arguments)
    assert ttg.wait() == 4, ttg.said()
    assert (
        "parameters all failed alike: RuntimeError at failing_workloads.py:25 (hopeless): nothing works" in ttg.said()
    )
    assert ttg.info()["dead"] == 0


def test_cancelling_one_of_two_runs_leaves_the_other_alone(ttg: TtgRun, valkey: RedisServer, tmp_path: Path) -> None:
    other = TtgRun(tmp_path / "other", tmp_path)
    common = ("--broker", valkey.url, "--chunk-size", "5")
    for run, name, workers in ((ttg, "doomed", "2"), (other, "lucky", "1")):
        arguments = ("i=range(0,400)", "--run-id", name, "--workers", workers, "--out", str(run.folder), *common)
        run.start("run", f"{WORKLOADS}:slow", *arguments)
    for run, name in ((ttg, "doomed"), (other, "lucky")):
        eventually(lambda name=name: ask(valkey.url, "HEXISTS", "ttg.runs", name), f"{name} is known: {run.said()}")
    eventually(lambda: len(ttg.slots()) == 2, "the run is going on")
    code, said = ttg_says(ttg, "cancel", "doomed", "--broker", valkey.url)
    assert code == 0, said
    assert ttg.wait(10) == 4, ttg.said()
    assert ttg.info()["state"] == "cancelled"
    assert ttg_says(ttg, "cancel", "nobody", "--broker", valkey.url)[0] == 2
    assert other.wait() == 0, other.said()
    apply_oracle(other.folder, 400, lambda i: i * 2, dead=set())
    again = TtgRun(ttg.folder, ttg.home)
    assert again.start("resume", str(ttg.folder), "--workers", "2", "--broker", valkey.url).wait() == 0, again.said()
    apply_oracle(ttg.folder, 400, lambda i: i * 2, dead=set())


def test_a_cancelled_run_is_cleared_when_nobody_works_on_it() -> None:
    def beat(*holding: str) -> WorkerHeartbeat:
        return WorkerHeartbeat(
            at=0, source="w", worker="w", host="h", pid=1, state="working", interval=1, holding=holding
        )

    participants = Participants(RunRecord(run="r", identity="a"), coordinated=True)
    participants.saw(beat("r/a/c1", "r/b/c1"))
    other = RunEnded(at=0, source="c", run="r", identity="b", status=RunStatus.CANCELLED, done=0, dead=0, seconds=1.0)
    participants.saw(other)
    participants.saw(beat("r/b/c1"))
    assert not participants.are_gone
    participants.saw(msgspec.structs.replace(other, identity="a"))
    assert participants.are_gone
    participants.saw(beat("r/a/c1"))
    assert not participants.are_gone
