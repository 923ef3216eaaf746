"""The command line as a person uses it: order of arguments, wrong input, what is said when and to whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from workloads import value

from runs import TtgRun, apply_oracle, eventually, settled_on_disk
from servers import RedisServer, valkey_program

WORKLOADS = str(Path(__file__).with_name("workloads.py"))
ONE = ("--workers", "1")

Said = tuple[int, str]


@pytest.fixture
def say(tmp_path: Path) -> Callable[..., Said]:
    """Runs `ttg …` in an empty folder; gives exit code and everything it said."""

    def run(*arguments: str) -> Said:
        environment = {**os.environ, "TTG_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-m", "ttg", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
        return done.returncode, done.stdout + done.stderr

    return run


def test_axes_may_stand_after_options(ttg: TtgRun) -> None:
    ttg.start("run", f"{WORKLOADS}:value", *ONE, "--out", str(ttg.folder), "i=range(0,20)", "--quiet")
    assert ttg.wait() == 0, ttg.said()
    assert len(dict(settled_on_disk(ttg.folder))) == 20
    assert ttg.said() == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["i=1", "--workers", "some"], "--workers: expected a whole number, got 'some'"),
        (["i=1", "--wrokers", "2"], "ttg run has no option --wrokers: did you mean --workers?"),
        (["i=1", "--wrokers=2"], "ttg run has no option --wrokers: did you mean --workers?"),
        (["i=1", "--until-run", "x"], "--until-run does not go with ttg run: it is for ttg worker"),
        (["i=1", "--metrics-port", "70000"], "--metrics-port: expected at most 65,535"),
        (["i=1", "--broker", "foo"], "redis://"),
        (["i=1", "--timeout", "0"], "--timeout: expected at least 1ms"),
        (["i=1", "--checkpoint", "0s"], "--checkpoint: expected at least 1ms"),
        (["i=1", "--retry-delay", "9999h"], "--retry-delay: expected at most 720h"),
        (["i=1", "--max-failures", "200%"], "--max-failures: expected a number such as 100, or a share"),
        (["i=1", "--max-failures", "-1"], "--max-failures: expected a number such as 100, or a share"),
        (["i=1", "--memory", "2"], "--memory: expected at least 16M"),
        (["i=1", "--workers", "-1"], "--workers: expected at least 0"),
        (["i=1", "--sample", "0"], "--sample: expected at least 1"),
        (["i=1", "--run-id", "a b/c"], "--run-id"),
        (["i=1", "--on", "mars"], "--on: expected one of here, kubernetes, got 'mars'"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_no_run(
    say: Callable[..., Said], tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, said = say("run", f"{WORKLOADS}:value", *arguments)
    assert code == 2
    assert words in said
    assert said.startswith("ttg")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_is_not_there_is_named_without_its_password(say: Callable[..., Said], tmp_path: Path) -> None:
    broker = f"unix://:secret@{tmp_path}/none"
    code, said = say("run", f"{WORKLOADS}:value", "i=1", "--broker", broker, *ONE)
    assert code == 3
    assert f"unix://:***@{tmp_path}/none cannot be reached (No such file or directory)" in said
    assert "secret" not in said
    assert say("runs") == (0, "no runs yet: `ttg run --help` shows how to start one\n")


def test_a_forecast_takes_the_command_of_a_run_and_says_what_does_not_matter(say: Callable[..., Said]) -> None:
    code, said = say("plan", f"{WORKLOADS}:value", "i=range(0,9)", *ONE, "--out", "x", "--retries=3", "--quiet")
    assert code == 0, said
    assert "without influence on a forecast: --out, --retries, --quiet\n" in said
    assert say("plan", f"{WORKLOADS}:value", "i=1", "--retries", "-3")[0] == 2


def test_help_needs_no_broker_client_and_no_arrow() -> None:
    code = "import sys; from ttg.cli import main\ntry: main(['run', '--help'])\nexcept SystemExit: print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "numpy", "pika", "hiredis", "msgspec", "asyncio"} & set(loaded)


def test_what_was_printed_before_an_error_is_delivered(say: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def f(i):\n    return 1 // i\n")
    code, said = say("run", "f.py:f", "i=0,1", "--retries", "0", *ONE, "--json")
    assert code == 5
    assert '"dead": 1' in said
    code, said = say("cleanup", "last")
    assert code == 2
    assert "to remove: run folder" in said


def test_quiet_still_says_that_parameters_failed(ttg: TtgRun, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def f(i):\n    return 1 // i\n")
    ttg.start("run", f"{tmp_path / 'f.py'}:f", "i=0,1", "--retries", "0", *ONE, "--out", str(ttg.folder), "-q")
    assert ttg.wait() == 5
    assert "1 of 2 results, 1 dead letter " in ttg.said()
    assert ttg.said().count("\n") == 1


def test_integers_of_64_bits_can_be_results(ttg: TtgRun, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def f(i, seed):\n    return seed << 31 | i\n")
    ttg.start("run", f"{tmp_path / 'f.py'}:f", "i=range(0,9)", *ONE, "--out", str(ttg.folder))
    assert ttg.wait() == 0, ttg.said()
    assert ttg.info()["statistics"]["result"]["max"] > 1 << 53


def test_the_table_shows_durations_as_exactly_as_they_were_measured(ttg: TtgRun, say: Callable[..., Said]) -> None:
    ttg.start("run", f"{WORKLOADS}:value", "i=range(0,3)", *ONE, "--out", str(ttg.folder))
    assert ttg.wait() == 0, ttg.said()
    _, table = say("results", str(ttg.folder), "--columns", "seconds")
    assert max(len(line.partition("e")[0].strip()) for line in table.splitlines()[2:]) <= len("0.0001234")


def test_interrupting_says_how_to_go_on(ttg: TtgRun, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    ttg.environment = {"CALLS_FILE": str(calls)}
    ttg.start("run", f"{WORKLOADS}:slow", "i=range(0,5000)", *ONE, "--out", str(ttg.folder))
    eventually(lambda: calls.exists(), "the function is called")
    assert ttg.process is not None
    ttg.process.terminate()
    assert ttg.wait() == 4
    assert f"ttg resume {ttg.info()['spec']['run']}" in ttg.said()
    assert "once more to leave at once" in ttg.said()


def test_two_runs_of_one_folder_share_a_broker_and_each_other_s_workers(tmp_path: Path, ttg: TtgRun) -> None:
    server = RedisServer(valkey_program()).start()
    try:
        runs = [TtgRun(tmp_path / f"run{number}", ttg.home) for number in (1, 2)]
        for run, function in zip(runs, ("value", "other_value"), strict=True):
            target = f"{WORKLOADS}:{function}"
            run.start("run", target, "i=range(0,100)", *ONE, "--broker", server.url, "--out", str(run.folder))
        assert [run.wait() for run in runs] == [0, 0], runs[0].said()
        assert "does not work on this run" not in runs[0].said()
    finally:
        server.close()


def test_a_run_with_an_embedded_broker_can_be_watched_and_joined_by_its_folder(
    ttg: TtgRun, say: Callable[..., Said], tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    ttg.environment = {"CALLS_FILE": str(calls)}
    ttg.start("run", f"{WORKLOADS}:slow", "i=range(0,2000)", *ONE, "--out", str(ttg.folder))
    eventually(calls.exists, "the function is called")
    code, shown = say("monitor", str(ttg.folder), "--once")
    assert code == 0, shown
    assert ttg.info()["spec"]["run"] in shown
    command = [sys.executable, "-m", "ttg", "worker", "--run", str(ttg.folder)]
    environment = {**os.environ, **ttg.environment}
    worker = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert '"backend": "redis"' in worker.stdout, worker.stderr
    assert ttg.wait() == 0, ttg.said()
    code, shown = say("monitor", str(ttg.folder))  # from its folder
    assert (code, "2,000 of 2,000" in shown) == (0, True), shown


def test_a_replaced_worker_has_a_name_of_its_own(ttg: TtgRun, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    ttg.environment = {"CALLS_FILE": str(calls)}
    ttg.start("run", f"{WORKLOADS}:slow", "i=range(0,3000)", *ONE, "--out", str(ttg.folder))
    eventually(calls.exists, "the function is called")
    os.kill(ttg.workers()[0], signal.SIGKILL)
    assert ttg.wait() == 0, ttg.said()
    names = {row["worker"] for row in ds.dataset(ttg.folder / "results").to_table(["worker"]).to_pylist()}
    assert len({name.partition("-")[2] for name in names}) == 1
    assert "w1.2" in {name.partition("-")[0] for name in names}


def test_a_run_without_workers_says_how_they_join(ttg: TtgRun) -> None:
    ttg.start("run", f"{WORKLOADS}:value", "i=range(0,10)", "--workers", "0", "--out", str(ttg.folder))
    eventually(lambda: "ttg worker --broker unix://" in ttg.said(), "the command is named")
    command = ttg.said().partition("`")[2].partition("`")[0]
    worker = subprocess.Popen([sys.executable, "-m", *command.split()], stdout=subprocess.DEVNULL)
    try:
        assert ttg.wait() == 0, ttg.said()
    finally:
        worker.terminate()
        worker.wait(30)
    apply_oracle(ttg.folder, 10, value)
