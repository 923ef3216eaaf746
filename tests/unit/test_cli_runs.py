"""`ttg runs`, `ttg cleanup RUN`: which runs are listed, which one goes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from results_fakes import spec_of

from ttg.cli import main
from ttg.cli.runs import _table
from ttg.results.folder import RunFolder

Said = pytest.CaptureFixture[str]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, RunFolder]:
    """``here-1`` and ``here-2`` of this folder, ``other`` of another one."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TTG_BROKER", raising=False)
    found = {}
    for name, place in (("here-1", "here"), ("other", "other"), ("here-2", "here")):
        (tmp_path / place).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / place)
        found[name] = RunFolder.create(Path("ttg-runs") / name, spec_of(1_000, name), tmp_path / "home")
        found[name].update(state="finished_with_dead_letters", done=990, dead=10, seconds=75.0)
    return found


def test_runs_of_this_folder_with_start_duration_and_folder(runs: dict[str, RunFolder], capsys: Said) -> None:
    assert main(["runs"]) == 0
    said = capsys.readouterr()
    head, *rows = [line.split() for line in said.out.splitlines()]
    assert head == ["RUN", "STATE", "DONE", "FAILED", "STARTED", "TOOK", "FOLDER"]
    assert [row[:4] for row in rows] == [[name, "finished", "990/1,000", "10"] for name in ("here-1", "here-2")]
    assert "1 min 15 s" in said.out
    assert rows[0][-1] == "ttg-runs/here-1"
    assert said.err == "1 of other folders: `ttg runs --all`\n"
    assert main(["runs", "--all", "--json"]) == 0
    facts: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [fact["run"] for fact in facts] == ["here-1", "other", "here-2"]
    assert facts[1]["started_in"] == str(runs["other"].path.parents[1])


def test_a_damaged_part_hides_no_run_and_keeps_none(runs: dict[str, RunFolder], capsys: Said) -> None:
    """One in the folder of a killed coordinator made ``ttg runs`` fail for all, and ``ttg cleanup`` for this one."""
    damaged = runs["here-1"]
    damaged.update(state="active")
    (damaged.results / "part-000001.parquet").write_bytes(b"PAR1")
    assert main(["runs"]) == main(["status", "here-1"]) == 0
    assert "here-1  abandoned    0/1,000" in capsys.readouterr().out
    assert main(["results", "here-1"]) == 3
    assert "part-000001.parquet" in capsys.readouterr().err
    assert main(["cleanup", "here-1", "--force"]) == 0
    assert not damaged.path.exists()


def test_a_narrow_terminal_has_a_line_for_each_run_with_start_and_duration() -> None:
    row = {
        "RUN": "calibration-1127-200914-369e",
        "STATE": "interrupted",
        "DONE": "1,234,567/2,000,000",
        "FAILED": "12",
        "STARTED": "Nov 26 08:40",
        "TOOK": "59 min 59 s",
        "FOLDER": "f" * 60,
    }
    assert _table([row], None)[1].endswith(row["FOLDER"])
    head, line = _table([row], 80)
    assert len(line) <= 80
    assert head.split() == ["RUN", "STATE", "DONE", "FAILED", "STARTED", "TOOK"]
    assert line.startswith("calibratio…")
    assert line.endswith("Nov 26 08:40  59 min 59 s")


def test_one_run_goes_after_it_was_shown_and_asked(
    runs: dict[str, RunFolder], capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs["here-1"].path / "notes.txt").write_text("mine")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _prompt: "n")
    assert main(["cleanup", "here-1"]) == 0
    said = capsys.readouterr().out
    assert (
        f"to remove: run folder {runs['here-1'].path}\n    here-1: finished with dead letters, 990 results, 10" in said
    )
    assert "nothing was removed" in said
    assert main(["cleanup", "here-1", "last", "--force"]) == 0
    left = [name for name, run in runs.items() if (run.path / "run.json").exists()]
    assert left == ["other"]
    assert (runs["here-1"].path / "notes.txt").read_text() == "mine"
    assert main(["cleanup", "here-1", "--force"]) == 2
    assert "no run 'here-1'" in capsys.readouterr().err


def test_a_run_that_goes_on_is_not_removed(runs: dict[str, RunFolder], capsys: Said) -> None:
    with runs["here-1"].lock():
        assert main(["cleanup", "here-1", "--force"]) == 2
        assert "is in use by another coordinator" in capsys.readouterr().err
        assert main(["cleanup", "--runs", "--dry-run"]) == 0
        assert "left alone: " in capsys.readouterr().err
    assert main(["cleanup", "here-1", "--runs"]) == 2
    assert "--runs does not go with RUN" in capsys.readouterr().err
