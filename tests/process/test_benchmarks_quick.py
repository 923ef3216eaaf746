"""The benchmark's quick form keeps working: every value right, results and report readable. Nothing on speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_INSTALLING = "plain,ttg,mp-pool,futures"
"""Contenders that need nothing but this environment; the others would install their own."""


def run_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmark")
    done = run_benchmarks("P1", "start", "--quick", "--peers", WITHOUT_INSTALLING, "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def measurements(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "results.json").read_text())["measurements"]
    return found


def test_every_contender_is_measured_and_every_value_right(quick_run: Path) -> None:
    found = measurements(quick_run)
    assert {each["job"]["peer"] for each in found} == set(WITHOUT_INSTALLING.split(","))
    assert {each["status"] for each in found} == {"ok"}
    assert all(each["detail"]["checked"]["wrong"] == 0 for each in found)


def test_the_report_names_machine_targets_and_promises(quick_run: Path) -> None:
    report = (quick_run / "report.md").read_text()
    for expected in ("- processor:", "## Targets", "## P1:", "| **ttg** | auto |", "## What each one promises"):
        assert expected in report


def test_programs_are_measured_beside_each_other() -> None:
    names = ["ttg", "subprocess", "plain"]
    command = [sys.executable, "-m", "benchmarks.programs", *names, "--count", "20", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert [line.split(" | ")[0] for line in done.stdout.splitlines()] == [f"| {name}" for name in names], done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["P99"], "unknown workload 'P99': expected any of P1,"),
        (["P1", "--peers", "nobody"], "unknown peer 'nobody': expected any of plain,"),
        (["memory", "--timing", "client"], "Nothing to measure"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], text: str) -> None:
    done = run_benchmarks(*arguments)
    assert done.returncode == 2
    assert text in done.stderr
