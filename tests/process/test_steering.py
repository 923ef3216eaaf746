"""`ttg pause`, `ttg unpause` and `ttg drain`: a run goes on otherwise because somebody says so."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

from workloads import value

from runs import TtgRun, apply_oracle, eventually

WORKLOADS = str(Path(__file__).with_name("workloads.py"))
SIZE = 30_000


def command(ttg: TtgRun, *words: str) -> TtgRun:
    """One that has ended, with what it said."""
    home = ttg.home / f"command-{uuid4().hex[:8]}"
    home.mkdir()
    other = TtgRun(ttg.folder, home, {**ttg.environment, "TTG_HOME": str(ttg.home)})
    other.start(*words).wait()
    return other


def test_a_run_is_paused_a_worker_drained_and_the_run_goes_on(ttg: TtgRun) -> None:
    calls, folder = ttg.home / "calls", str(ttg.folder)
    ttg.environment = {"CALLS_FILE": str(calls)}
    ttg.start("run", f"{WORKLOADS}:gated", f"i=range(0,{SIZE})", "--workers", "2", "--out", folder)
    eventually(calls.exists, "a call is under way")
    assert "is paused" in command(ttg, "pause", folder).said()
    eventually(lambda: " – 0 under way: `ttg unpause" in ttg.said(), "what was submitted is finished")
    done = calls.stat().st_size
    assert 0 < done < SIZE
    name = re.search(r"w2-\w{4}", command(ttg, "drain", folder, "w2").said())
    assert name, "the error names those who are there"
    assert "is told to leave" in command(ttg, "drain", folder, name[0]).said()
    eventually(lambda: len(ttg.workers()) == 1, "the worker leaves, and is not replaced")
    assert calls.stat().st_size == done
    Path(f"{calls}.go").touch()
    assert "goes on" in command(ttg, "unpause", folder).said()
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, value, dead=set())
    assert "ended with exit code" not in ttg.said()
    refused = command(ttg, "pause", folder)
    assert refused.wait() == 2, refused.said()
