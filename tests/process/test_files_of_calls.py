"""What calls leave in their folders, while calls, children and workers die: beside the table, whole, of the attempt
that was counted; and no folder stays behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from runs import TtgRun, apply_oracle, eventually, settled_on_disk

WORKLOADS = str(Path(__file__).with_name("fault_workloads.py"))
SIZE = 40


@pytest.fixture
def scratch(ttg: TtgRun, tmp_path: Path) -> Path:
    """Where the folders of calls are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    ttg.environment = {"TMPDIR": str(folder)}
    return folder


@pytest.mark.parametrize("kilobytes", [1, 300])
def test_files_are_those_of_the_attempt_that_was_counted(ttg: TtgRun, scratch: Path, kilobytes: int) -> None:
    arguments = (f"i=range(0,{SIZE})", f"kilobytes={kilobytes}", "--workers", "2", "--retry-delay", "100ms")
    ttg.start("run", f"{WORKLOADS}:leaving", *arguments, "--out", str(ttg.folder))
    eventually(lambda: (ttg.folder / "files").exists(), "the first files")
    for worker in ttg.workers()[:1]:
        os.kill(worker, signal.SIGKILL)
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, lambda i: i, dead=set())
    assert {int(folder.name) for folder in (ttg.folder / "files").iterdir()} == {i for i in range(SIZE) if i % 5}
    for index, _ in settled_on_disk(ttg.folder):
        folder = ttg.folder / "files" / str(index)
        if index % 5:
            assert (folder / "sub" / "data").read_bytes() == b"%04d" % index * 256 * kilobytes
            assert (folder / "attempt").read_text() == ("2" if index % 10 in (3, 7) else "1")
    assert not (ttg.folder / "store").exists()
    left = [path for path in scratch.glob("ttg-work-*/*") if path.name != "lock"]
    assert len(left) <= 1, "of the killed worker, for whoever comes next"
