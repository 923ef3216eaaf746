"""Programs in runs: what becomes of those that fail, hang, flood, leave something behind, or are not allowed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import ttg
from runs import TtgRun, apply_oracle, dead_on_disk, eventually

pytestmark = pytest.mark.timeout(120)


def run(ttg: TtgRun, *words: str, size: int = 6) -> TtgRun:
    options = ("--workers", "2", "--retries", "0", "--out", str(ttg.folder))
    return ttg.start("run", f"x=range({size})", *options, *words)


def test_its_last_line_is_the_row_and_its_end_the_failure(ttg: TtgRun) -> None:
    code = 'echo "computing"; if [ $1 = 3 ]; then echo "no root" >&2; exit 4; fi; test $1 != 4 || kill -9 $$; echo $1'
    assert run(ttg, "--", "sh", "-c", code, "sh", "{x}").wait() == 5
    apply_oracle(ttg.folder, 6, lambda x: x, dead={3, 4})
    told = {letter["index"]: letter for letter in dead_on_disk(ttg.folder)}
    assert "exit code 4: no root" in told[3]["message"]
    assert (told[3]["exit_code"], told[4]["exit_code"]) == (4, -9)
    assert "SIGKILL" in told[4]["message"]


def test_what_hangs_is_ended_with_all_that_it_started_and_its_neighbours_are_not(ttg: TtgRun) -> None:
    code = "if [ $1 = 2 ]; then sleep 1234 & sleep 1234; fi; echo $1"
    assert run(ttg, "--timeout", "1s", "--", "sh", "-c", code, "sh", "{x}").wait() == 5
    apply_oracle(ttg.folder, 6, lambda x: x, dead={2})
    eventually(lambda: not left("sleep 1234"), "what it started is gone")


def left(command: str) -> list[str]:
    return subprocess.run(["pgrep", "-fx", command], capture_output=True, text=True, check=False).stdout.split()


def test_a_daemon_ends_with_its_call(ttg: TtgRun) -> None:
    code = "setsid sleep 2345 >/dev/null 2>&1 & echo $1"
    assert run(ttg, "--", "sh", "-c", code, "sh", "{x}").wait() == 0
    apply_oracle(ttg.folder, 6, lambda x: x, dead=set())
    eventually(lambda: not left("sleep 2345"), "the daemons are gone")


def test_a_flood_of_output_and_invalid_text_end_nothing(ttg: TtgRun) -> None:
    code = "head -c 200M /dev/zero | tr '\\0' 'y'; printf '\\n\\377%s\\n' $1"
    assert run(ttg, "--memory", "256M", "--", "sh", "-c", code, "sh", "{x}", size=2).wait() == 0, ttg.said()
    apply_oracle(ttg.folder, 2, lambda x: f"\ufffd{x}", dead=set())


def test_it_is_told_who_it_is_and_its_files_come_beside_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    line = 'echo {x} > {workdir}/x.txt; ls "$TTG_WORKDIR"; echo "$TTG_INDEX-$TTG_ATTEMPT"'
    program = ttg.program(line, shell=True)  # noqa: S604
    found: Any = ttg.run(program, {"x": ["a b", "$HOME"]}, workers=1, progress=False)
    assert [row["result"] for row in found] == ["0-1", "1-1"]
    assert [(path.name, path.read_text()) for path in found.files(1)] == [("x.txt", "$HOME\n")]


def test_a_worker_that_does_not_allow_it_leaves_it_to_another(ttg: TtgRun) -> None:
    run(ttg, "--workers", "0", "--run-id", "r", "--", "sh", "-c", "echo $1", "sh", "{x}")
    file = ttg.folder / "broker" / "url"
    url = eventually(lambda: file.exists() and file.read_text(), "the embedded broker")
    strict, willing = (TtgRun(ttg.folder, ttg.home / name, {}) for name in ("strict", "willing"))
    for worker in (strict, willing):
        worker.home.mkdir()
    strict.start("worker", "--broker", url, "--until-run", "r")
    eventually(lambda: "--allow-program" in strict.said(), "the refusal")
    willing.start("worker", "--broker", url, "--until-run", "r", "--allow-program", "sh")
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, 6, lambda x: x, dead=set())
    for worker in (strict, willing):
        worker.kill()


def test_a_run_goes_on_only_with_the_program_that_it_began_with(ttg: TtgRun, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_text("#!/bin/sh\ntest $1 != 0 && sleep 0.2 && echo $1\n")
    model.chmod(0o755)
    assert run(ttg, "--fail-fast", "--", str(model), "{x}", size=200).wait() == 4
    model.write_text("#!/bin/sh\necho $1\n")
    again = TtgRun(ttg.folder, ttg.home, {})
    assert again.start("resume", str(ttg.folder)).wait() == 2
    assert "--force" in again.said()
