"""Vectorised functions in real runs: poison is pinned to its parameter, and the table is that of scalar calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttg

pytestmark = pytest.mark.timeout(120)

FAST: dict[str, Any] = {"workers": 2, "progress": False}
RAISES, EXITS = 137, 411


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made and registered in the test's own folder."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_poison_costs_only_itself() -> None:
    @ttg.vectorized
    def function(i: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
        if EXITS in i:
            os._exit(3)
        i *= 2
        if 2 * RAISES in i:
            raise ValueError("poison")
        return {"scaled": i * scale, "root": np.sqrt(i)}

    run = ttg.run(function, ttg.grid(i=range(600), scale=[0.5, 1.5]), retries=0, **FAST)

    dead = {failure["index"]: failure["kind"] for failure in run.failures()}
    table = run.table(["index", "scaled", "root"]).to_pydict()
    assert sorted([*dead, *table["index"]]) == list(range(1200))
    assert dead == {2 * i + place: kind for i, kind in ((RAISES, "exception"), (EXITS, "exit")) for place in (0, 1)}
    i, place = np.divmod(np.array(table["index"]), 2)
    np.testing.assert_array_equal(table["scaled"], 2 * i * np.array([0.5, 1.5])[place])
    np.testing.assert_array_equal(table["root"], np.sqrt(2 * i))


def function_of_both_kinds(x: Any, n: Any, seed: Any) -> dict[str, Any]:
    """Works on numbers as on columns."""
    return {"sum": x + n, "whole": n * n, "large": x > 1, "draw": seed % 1000, "z": x + 1j * n}


def test_scalar_and_vectorised_calls_give_equal_tables() -> None:
    space = ttg.grid(x=ttg.linspace(0, 2, 150), n=range(20))
    tables = [
        ttg.run(function_of_both_kinds, space, vectorized=vectorized, seed=5, **FAST).table()
        for vectorized in (False, True)
    ]
    kept = [name for name in tables[0].column_names if name not in ("seconds", "worker", "attempt")]
    assert tables[1].select(kept).equals(tables[0].select(kept))


def test_a_wrong_length_says_so() -> None:
    run = ttg.run(lambda x: x.sum(), {"x": [1.0, 2.0]}, vectorized=True, retries=0, **FAST)
    assert len(run) == 0
    assert {failure["message"] for failure in run.failures()} == {
        "expected a column of 1 values for 'result' from a vectorized function, got a single value"
    }
