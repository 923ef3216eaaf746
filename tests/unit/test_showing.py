"""What shows the progress of a run cannot harm it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from ttg.run.progress import Progress
from ttg.run.showing import reporter_of

BROKEN_BAR = """
class tqdm:
    n = 0
    def __init__(self, **about): pass
    def update(self, count): raise OSError("the output is gone")
    def close(self): raise OSError("the output is gone")
"""


def test_a_bar_whose_output_is_gone_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = tmp_path / "tqdm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "auto.py").write_text(BROKEN_BAR)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    reporter = reporter_of("tqdm")
    with caplog.at_level(logging.ERROR, "ttg.run"):
        reporter(Progress("r", 10))
        reporter(Progress("r", 10))
        reporter.close()
    assert [record.message for record in caplog.records] == [
        "what was given as progress= failed; nothing is shown any more"
    ]
