"""Runs with their own folders, and a teardown that fails when anything stays behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs import TtgRun, descendants_of, eventually, is_running


@pytest.fixture
def ttg(tmp_path: Path) -> Iterator[TtgRun]:
    """A `ttg` process to start; afterwards it and all it started must be gone."""
    home = tmp_path / "home"
    home.mkdir()
    run = TtgRun(tmp_path / "run", home)
    yield run
    if run.process is None:
        return
    below = descendants_of(run.pid)
    if run.process.poll() is None:
        os.kill(run.pid, signal.SIGTERM)
        run.wait()
    eventually(lambda: not [pid for pid in below if is_running(pid)], "processes left behind are gone")
