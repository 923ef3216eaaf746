"""``ttg plan``: predictions that can be checked, and samples that do not take for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ttg.cli import main
from ttg.planner import TARGET_SECONDS
from ttg.run import forecast

WORKLOAD = """\
import time
def nap(i):
    time.sleep(0.02)
    return i
def long(i):
    time.sleep(0.5 if i else 60)
def fast(i):
    return 2.0 * i
def bad(i):
    if i % 2:
        raise ValueError(i)
    return i
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work.py").write_text(WORKLOAD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))


def plan(capsys: Capture, *arguments: str) -> dict[str, float]:
    assert main(["plan", *arguments, "--workers", "2", "--json"]) == 0
    found: dict[str, float] = json.loads(capsys.readouterr().out)
    return found


def test_duration_chunks_and_failures_of_slow_calls(capsys: Capture, tmp_path: Path) -> None:
    found = plan(capsys, "work.py:nap", "i=range(0,10000)")
    assert found["sampled"] == 100
    assert found["call_seconds"] >= 0.02
    per_slot = 10_000 / 2 * (found["call_seconds"] + forecast.ROW_SECONDS)
    assert found["seconds"] == pytest.approx(forecast.START_SECONDS + per_slot)
    assert found["seconds_low"] <= found["seconds"] <= found["seconds_high"]
    assert found["chunk_size"] * found["call_seconds"] == pytest.approx(TARGET_SECONDS, rel=0.2)
    assert found["child_bytes"] > 1 << 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work.py"], "it leaves something behind"


def test_fast_calls_get_a_larger_sample(capsys: Capture) -> None:
    found = plan(capsys, "work.py:fast", "i=range(0,10000000)")
    assert found["sampled"] == forecast.FAST_SAMPLE_SIZE
    assert found["call_seconds"] < forecast.FAST_CALL_SECONDS


def test_failures_are_told(capsys: Capture) -> None:
    assert plan(capsys, "work.py:bad", "i=range(0,50)")["failed"] == 25


def test_a_sample_of_slow_calls_is_cut_short(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "SAMPLE_SECONDS", 5.0)
    found = plan(capsys, "work.py:long", "i=range(1,1000)")
    assert 0 < found["sampled"] < forecast.SAMPLE_SIZE
    assert found["call_seconds"] >= 0.5


def test_a_call_that_does_not_end_is_said(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "SAMPLE_SECONDS", 1.0)
    monkeypatch.setattr("ttg.run.local_workers.STOP_GRACE_SECONDS", 1.0)
    assert main(["plan", "work.py:long", "i=0", "--workers", "1"]) == 4
    assert "no call ended within 1 s" in capsys.readouterr().err
