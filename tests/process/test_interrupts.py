"""Ctrl-C in a script or notebook that calls ``ttg.run``: a real signal to a real process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from workloads import value

import ttg
from runs import apply_oracle, descendants_of, eventually, is_running, settled_on_disk

STAGE = str(Path(__file__).with_name("script_stage.py"))
SIZE = 4000


@dataclass
class Script:
    """A script that runs, what it says, and what it leaves."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path
    calls: Path

    def press(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def said(self) -> str:
        return self.log.read_text()

    def called(self) -> int:
        """How often the function was called."""
        return self.calls.stat().st_size if self.calls.exists() else 0

    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return info

    def has_died_of_it(self) -> bool:
        """Whether it ended as any Python program does that does not catch ``KeyboardInterrupt``."""
        return self.process.wait(60) == -signal.SIGINT and self.said().splitlines()[-1] == "KeyboardInterrupt"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Script]]:
    """Starts a script; afterwards, everything it started must be gone."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CALLS_FILE", str(tmp_path / "calls"))
    scripts = []

    def begin(way: str, function: str) -> Script:
        log = tmp_path / "script.log"
        command = [sys.executable, STAGE, way, function, str(SIZE), str(tmp_path / "run")]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=dict(os.environ))
        scripts.append(process)
        return Script(process, tmp_path / "run", log, tmp_path / "calls")

    yield begin
    for process in scripts:
        process.kill()
        process.wait()


@pytest.mark.parametrize("way", ["script", "notebook"])
def test_ctrl_c_drains_and_the_rest_can_be_done_later(start: Callable[..., Script], way: str) -> None:
    script = start(way, "slow")
    eventually(lambda: script.called() > 100, "the function is called")
    below = descendants_of(script.process.pid)
    script.press()
    assert script.has_died_of_it(), script.said()
    assert "ttg.resume('mine') goes on" in script.said()
    assert script.info()["state"] == "interrupted"
    assert script.called() == len(list(settled_on_disk(script.folder))) < SIZE, "what was computed is in the table"
    assert not [pid for pid in below if is_running(pid)]
    run = ttg.resume("mine", workers=2, progress=False)
    assert (run.status, len(run)) == ("finished", SIZE)
    apply_oracle(script.folder, SIZE, value, dead=set())


@pytest.mark.parametrize("way", ["script", "notebook"])
def test_a_second_ctrl_c_leaves_at_once(start: Callable[..., Script], way: str) -> None:
    script = start(way, "stuck")
    eventually(lambda: script.called() == 2, "both workers are at it")
    below = descendants_of(script.process.pid)
    script.press()
    eventually(lambda: "once more to leave at once" in script.said(), "it says what a second one does")
    pressed_at = monotonic()
    script.press()
    script.press()  # who presses on changes nothing
    assert script.has_died_of_it(), script.said()
    assert monotonic() - pressed_at < 5.0
    assert not [pid for pid in below if is_running(pid)]
    assert script.info()["state"] == "interrupted"
    if way == "script":
        assert "/asyncio/" not in script.said()
    assert not re.search("During handling|direct cause|unhandled|was destroyed|ignored", script.said())


def test_ctrl_c_before_it_began_is_not_forgotten(start: Callable[..., Script]) -> None:
    script = start("script", "slow")
    eventually((script.folder / "run.json").exists, "the run is on disk")
    script.press()
    assert script.has_died_of_it(), script.said()
    assert script.info()["state"] == "interrupted", script.said()
    named = re.search(r"ttg\.resume\('(.+)'\) goes on", script.said())
    assert named, script.said()
    ttg.resume(named[1], workers=2, progress=False)
    apply_oracle(script.folder, SIZE, value, dead=set())


def test_from_another_thread_it_works_without_signals(start: Callable[..., Script]) -> None:
    script = start("thread", "slow")
    assert script.process.wait(60) == 0, script.said()
    apply_oracle(script.folder, SIZE, value, dead=set())
