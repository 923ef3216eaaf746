"""Objects that all calls share, and functions over large data: by the Python API, with real workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ttg

FAST: dict[str, Any] = {"workers": 1, "progress": False}
MIB = 1 << 20


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made and registered in the test's own folder."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_shared_objects_are_arguments_and_no_axes() -> None:
    frame = pd.DataFrame({"v": np.arange(MIB) * 2})
    table = {"a": 10}

    def look(x: int, frame: Any, table: Any) -> int:
        return int(frame["v"][x]) + table["a"]

    run = ttg.run(look, {"x": [1, 5], "frame": ttg.shared(frame)}, shared={"table": table}, **FAST)
    assert [row["result"] for row in run] == [12, 20]
    assert run.dataframe().columns.tolist()[:2] == ["index", "x"]
    assert run.call(1) == 20
    assert (run.path / "run.json").stat().st_size < 10_000


def test_children_of_a_machine_map_one_copy_of_what_a_function_closes_over() -> None:
    big = np.ones(8 * MIB)

    def look(x: int) -> dict[str, int]:
        total = int(big.sum())
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        private = next(line for line in lines if line.startswith("Anonymous:"))
        return {"total": total, "private": int(private.split()[1]) << 10, "child": os.getpid()}

    run = ttg.run(look, {"x": range(4)}, workers=1, slots=2, progress=False, chunk_size=1)
    rows = run.dataframe()
    assert set(rows["total"]) == {8 * MIB}
    assert max(rows["private"]) < big.nbytes


def test_what_is_mapped_is_not_memory_of_the_child() -> None:
    big = np.ones(40 * MIB)

    def look(x: int) -> float:
        return float(big[x:].sum() + np.ones(MIB)[x])

    run = ttg.run(look, {"x": range(3)}, memory="200M", retries=0, **FAST)
    assert not run.failures()
    assert len(run) == 3


def test_a_run_goes_on_with_the_inputs_that_it_began_with(tmp_path: Path) -> None:
    big, flag = np.arange(MIB), tmp_path / "flag"

    def look(x: int) -> int:
        if x == 3 and not flag.exists():
            raise ValueError("not yet")
        return int(big[x])

    first = ttg.run(look, {"x": range(5)}, retries=0, **FAST)
    assert len(first) == 4
    flag.touch()
    subprocess.run([sys.executable, "-m", "ttg", "retry", first.id, "--workers", "1"], check=True, capture_output=True)
    assert [row["result"] for row in ttg.open_run(first.id)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("space", "shared", "message"),
    [
        ({"x": [1], "y": ttg.shared(1)}, {"y": 2}, "'y' is given twice"),
        ({"x": [1]}, {"x": 2}, "'x' is given twice"),
        ({"x": [1]}, {"z": 2}, "does not take 'z'"),
        ({"y": ttg.shared(1)}, {"x": 2}, "no parameters"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(space: Any, shared: Any, message: str) -> None:
    with pytest.raises(ttg.TTGError, match=message):
        ttg.run(lambda x, y=0: x, space, shared=shared, **FAST)
    assert not list(Path().glob("ttg-runs/*"))
