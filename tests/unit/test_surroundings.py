"""Folder, umask and environment of one call are not those of the next, however a run is cut into slices."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.test_worker_execution import execute, task_of

from ttg.worker.loading import Pace
from ttg.worker.surroundings import Surroundings


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@pytest.fixture(autouse=True)
def _ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEAK", raising=False)
    monkeypatch.setenv("KEPT", "as it was")
    mask = umask()
    yield
    os.umask(mask)
    os.environ.pop("LEAK", None)


def seen() -> str:
    return f"{os.environ.get('LEAK')}, {os.environ.get('KEPT')}, {os.getcwd()}, {umask():o}"


def leave_traces(i: int) -> None:
    os.chdir("/")
    os.umask(0o077)
    os.environ["LEAK"] = str(i)
    del os.environ["KEPT"]
    if i % 7 == 3:
        raise ValueError(i)


def traces(i: int) -> str:
    """What a call finds; every fifth leaves something, some of them by an error."""
    found = seen()
    if i % 5 == 3:
        leave_traces(i)
    return found


def first_slice(count: int) -> Pace:
    pace = Pace()
    pace.saw(count, 1e-9 * count, 8.0)
    return pace


@pytest.mark.parametrize("slices", [1, 8, 100])
def test_each_call_finds_what_the_run_began_with(slices: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = seen()
    report, values = execute(traces, task_of((0, 100)), pace=first_slice(slices))
    failed = {i for i in range(100) if i % 35 == 3}
    assert {failure.index for failure in report.failures} == failed
    assert len(report.failures) == len(failed)
    assert values == {i: before for i in range(100) if i not in failed}
    assert seen() == before
    assert capfd.readouterr().err.count("each call starts from those of the run") == 1


def test_so_does_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttg.worker.execution.BATCH_ROWS", 10)

    def function(column: Any) -> Any:
        found = "LEAK" in os.environ
        os.environ["LEAK"] = "1"
        return np.full(len(column), found)

    _, values = execute(function, task_of((0, 100)), vectorized=True, pace=first_slice(100))
    assert set(values.values()) == {False}


def test_what_an_import_adds_to_the_environment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sets_its_home.py").write_text(
        "import os\nos.environ['LEAK'] = 'home'\nos.environ['KEPT'] = 'changed'\n"
    )

    monkeypatch.syspath_prepend(tmp_path)

    def function(i: int) -> list[str | None]:
        importlib.import_module("sets_its_home")
        return [os.environ.get("LEAK"), os.environ.get("KEPT")]

    _, values = execute(function, task_of((0, 20)))
    assert {values[i][0] for i in range(20)} == {"home"}
    assert {values[i][1] for i in range(1, 20)} == {"as it was"}


def test_a_folder_that_is_gone_is_nobody_s(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    surroundings = Surroundings()
    os.chdir(tmp_path)
    gone.rmdir()
    assert surroundings.restore() == [f"the folder ({tmp_path})"]
    assert surroundings.restore() == []
