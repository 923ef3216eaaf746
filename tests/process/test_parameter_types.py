"""What a function gets, through a real broker and by every door: the value and the type that were given."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parameter_workloads import Kind, batch, row, seen, told

import ttg
from ttg.seeds import wide_seed_for

FAST: dict[str, Any] = {"workers": 1, "progress": False}
OLD = Path(__file__).with_name("version_2")
MOMENT = dt.datetime(2024, 3, 1, 12, 30)
VALUES = [
    np.arange(6.0).reshape(2, 3),
    (1, ("a", None)),
    MOMENT.date(),
    MOMENT,
    MOMENT.replace(tzinfo=ZoneInfo("Europe/Berlin")),
    MOMENT.time(),
    dt.timedelta(days=2),
    Decimal("1.10"),
    Path("data") / os.fsdecode(b"\xff.csv"),
    Kind.CALL,
    float("nan"),
    1 + 2j,
    b"\xff\0",
    os.fsdecode(b"\xff.csv"),
    np.datetime64("2024-03-01T12:30:00.000000001"),
    {"$date": [1, {"deep": MOMENT.date()}]},
    [1, 2.5, "x", None, True],
]
SCRIPT = """
import enum, ttg
class Colour(enum.Enum):
    RED = 1
def function(colour):
    return colour is Colour.RED
if __name__ == "__main__":
    for space in (ttg.grid(colour=Colour), [{"colour": Colour.RED}]):
        run = ttg.run(function, space, workers=1, progress=False)
        print(run[0]["colour"], run[0]["result"])
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made and registered in the test's own folder."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_every_type_arrives_with_the_space_and_with_the_tasks() -> None:
    expected = [f"{told(value)} {value is Kind.CALL}" for value in VALUES]
    listed = ttg.grid(x=VALUES, i=[0, 1, 2])
    assert listed.computable
    for space in (listed, list(listed)):
        run = ttg.run(seen, space, retries=0, **FAST)
        found = run.table(["i", "result"]).to_pydict()
        for i in (0, 1):
            assert [text for text, place in zip(found["result"], found["i"], strict=True) if place == i] == expected
        letters = sorted(run.failures(), key=lambda letter: letter["index"])
        assert [letter["message"] for letter in letters] == expected
        for letter, value in zip(letters, VALUES, strict=True):
            told_again = told(letter["parameters"]["x"])
            assert "Kind.CALL" in told_again if value is Kind.CALL else told_again == told(value)


def test_columns_of_a_parquet_file_for_scalar_and_vectorised_functions() -> None:
    table = pa.table(
        {
            "when": pa.array([MOMENT, None, MOMENT], pa.timestamp("us")),
            "day": [MOMENT.date()] * 3,
            "price": [Decimal("1.10")] * 3,
            "raw": [b"\xff"] * 3,
            "list": [[1, 2]] * 3,
        }
    )
    pq.write_table(table, "p.parquet")
    space = ttg.from_file("p.parquet")
    given = table.to_pylist()
    assert ttg.run(row, space, **FAST).table()["result"].to_pylist() == [row(**columns) for columns in given]
    assert ttg.run(batch, space, **FAST).table()["result"].to_pylist() == [
        f"{told(tuple(columns.values()))} datetime64[us]" for columns in given
    ]


def test_an_enumeration_of_a_script_travels_with_its_function(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("RED True\nRED True\n", "")


def test_a_run_of_version_2_goes_on_as_it_began(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    for name in ("results", "dead", "logs"):
        (tmp_path / "run" / name).mkdir()
    run = ttg.resume("run", **FAST)
    assert run[1]["result"] == f"1 '2024-01-02' ['a', 1] {wide_seed_for(5, 1)}"
    assert [row["index"] for row in run] == [0, 1, 2, 4, 5]
    (letter,) = run.failures()
    assert letter["parameters"] == {"x": 3, "day": "2024-01-04", "note": ["a", 3]}
