"""Temporary folders that a killed program leaves, and who removes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ttg.brokers.embedded import try_lock
from ttg.run import scratch
from ttg.run.scratch import Scratch

HELD = "import os, signal; from ttg.run.scratch import Scratch; s = Scratch('calls'); print(s.path, flush=True); {end}"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_what_a_killed_program_has_left_goes_with_the_next_one_and_nothing_else(temporary: Path) -> None:
    foreign = temporary / "ttg-calls-of-others"
    foreign.mkdir()
    mine = Scratch("calls")
    (mine.path / "file").write_text("mine")
    kill = HELD.format(end="os.kill(os.getpid(), signal.SIGKILL)")
    left = Path(
        subprocess.run([sys.executable, "-c", kill], capture_output=True, text=True, check=False).stdout.strip()
    )
    assert left.is_dir()
    Scratch("calls").remove()
    assert not left.exists()
    assert foreign.exists()
    assert (mine.path / "file").read_text() == "mine"
    mine.remove()
    assert not mine.path.exists()


def test_a_folder_in_use_by_another_process_stays(temporary: Path) -> None:
    wait = HELD.format(end="input()")
    with subprocess.Popen(
        [sys.executable, "-c", wait], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as other:
        assert other.stdout is not None
        path = Path(other.stdout.readline().strip())
        Scratch("calls").remove()
        assert path.is_dir()
        other.communicate("\n")
    assert path.parent == temporary


def test_a_folder_that_was_removed_before_it_was_locked_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[Path] = []

    def late(descriptor: int) -> bool:
        if not swept:
            swept.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent)
            shutil.rmtree(swept[0])
        return try_lock(descriptor)

    monkeypatch.setattr(scratch, "try_lock", late)
    mine = Scratch("calls")
    assert mine.path.is_dir()
    assert mine.path not in swept
    mine.remove()
