"""What a call has started goes with its child, also from a session of its own; what its neighbours started stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runs import TtgRun, dead_on_disk, settled_on_disk

WORKLOADS = str(Path(__file__).with_name("orphan_workloads.py"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_processes_left_behind_go_with_the_child_that_started_them(ttg: TtgRun, tmp_path: Path) -> None:
    ttg.environment = {"PIDS_FILE": str(tmp_path / "pids")}
    target, one_each = f"{WORKLOADS}:leave", ("--slots", "2", "--chunk-size", "1", "--retries", "0")
    ttg.start("run", target, "i=0,1", "--workers", "1", *one_each, "--out", str(ttg.folder))
    assert ttg.wait(20) == 5, ttg.said()
    assert dict(settled_on_disk(ttg.folder)) == {1: True}
    assert [letter["error"] for letter in dead_on_disk(ttg.folder)] == ["ProcessExit"]
