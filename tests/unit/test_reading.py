"""Reading a run back: ordered, selected, in every format."""

from __future__ import annotations

import builtins
import datetime
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from results_fakes import Run, letter

from ttg.errors import InputError
from ttg.results import reading


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """30 rows in three parts that interleave; windows and row groups are smaller than that."""
    monkeypatch.setattr("ttg.results.selection.WINDOW_ROWS", 8)
    monkeypatch.setattr("ttg.results.pieces.ROW_GROUP_ROWS", 4)
    run = Run(tmp_path / "r", 31)
    for offset in (2, 0, 1):
        run.add(tuple((start, start + 1) for start in range(offset, 30, 3)), worker=f"w{offset}")
        run.flush()
    run.add((), dead=[30])
    run.flush()
    return run


def test_rows_come_in_order(run: Run) -> None:
    table = reading.table(run.folder)
    assert table["index"].to_pylist() == list(range(30))
    assert table["result"].to_pylist() == [10.0 * index for index in range(30)]
    assert table["worker"].to_pylist() == [f"w{index % 3}" for index in range(30)]


def test_columns_and_rows_can_be_chosen(run: Run) -> None:
    table = reading.table(run.folder, columns=["result", "x"], indices=[29, 3, 30, 12])
    assert table.to_pydict() == {"result": [30.0, 120.0, 290.0], "x": [3, 12, 29]}
    assert reading.table(run.folder, columns=["index"], limit=5)["index"].to_pylist() == [0, 1, 2, 3, 4]
    assert reading.table(run.folder, limit=0).num_rows == 0


def test_an_unknown_column_is_named(run: Run) -> None:
    with pytest.raises(InputError, match=r"'reslt'.*index, x, y, result"):
        reading.table(run.folder, columns=["reslt"])


def test_a_run_without_rows_reads_as_an_empty_table(tmp_path: Path) -> None:
    assert reading.table(Run(tmp_path / "r", 3).folder).num_rows == 0


def test_dataframe_and_dataset(run: Run) -> None:
    assert reading.dataframe(run.folder, ["x", "result"])["result"].sum() == 4350
    run.collector.finalise()
    assert reading.dataset(run.folder).count_rows() == 30


def test_a_missing_pandas_is_explained(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pandas(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(InputError, match="pip install"):
        reading.dataframe(run.folder)


def exported(run: Run, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    count = reading.export(run.folder, format, file, **options)
    assert count == reading.table(run.folder, **options).num_rows
    return file.getvalue()


def test_exports_agree_with_the_table(run: Run) -> None:
    rows = reading.table(run.folder).to_pylist()
    assert json.loads(exported(run, "json")) == rows
    assert [json.loads(line) for line in exported(run, "jsonl").splitlines()] == rows
    assert pq.read_table(io.BytesIO(exported(run, "parquet"))).to_pylist() == rows
    lines = exported(run, "csv").decode().splitlines()
    assert lines[:2] == ['"index","x","y","result","seconds","attempt","worker"', '0,0,0,0,0.25,1,"w0"']
    assert len(lines) == 31


def test_the_text_table_is_aligned(run: Run) -> None:
    lines = exported(run, "table", columns=["index", "result"], limit=12).decode().splitlines()
    assert lines[0].split() == ["index", "result"]
    assert lines[-1].split() == ["11", "110"]
    assert {len(line) for line in lines} == {len("index  result")}


def test_unusual_values_can_be_exported(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 2)
    values = [
        {"n": float("nan"), "l": [1, 2], "s": {"a": 1}, "b": b"\x00", "d": datetime.timedelta(seconds=90), "m": 1},
        {"n": 1.0, "l": [], "s": None, "b": b"", "d": None, "m": "x"},
    ]
    run.add(((0, 2),), values=values)
    run.flush()
    first, second = json.loads(exported(run, "json"))
    assert (first["n"], first["l"], first["s"], first["m"]) == ("NaN", [1, 2], {"a": 1}, 1)
    assert second["m"] == "x"
    assert b'nan,"[1,2]","{""a"":1}","AA==","90.0","1"' in exported(run, "csv")
    assert b"[1, 2]" in exported(run, "table")


@pytest.mark.parametrize("duration", [datetime.timedelta(100_000, 0, 1), np.timedelta64(1_500_000_001, "ns")])
def test_durations_are_exact_seconds_in_csv(tmp_path: Path, duration: Any) -> None:
    run = Run(tmp_path / "r", 1)
    run.add(((0, 1),), values=[duration])
    run.flush()
    seconds = "8640000000.000001" if isinstance(duration, datetime.timedelta) else "1.500000001"
    assert f'"{seconds}"'.encode() in exported(run, "csv")


def test_names_that_are_not_unicode_and_signs_that_cannot_be_printed_can_be_exported(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 3)
    run.add(((0, 3),), values=["data\udcff.csv", "two\nlines", ["\udcff", "é"]])
    run.flush()
    found = [json.loads(line)["result"] for line in exported(run, "jsonl").splitlines()]
    assert found == [row["result"] for row in json.loads(exported(run, "json"))]
    assert found == ["data\udcff.csv", "two\nlines", ["\udcff", "é"]]
    lines = exported(run, "table", columns=["result"]).decode().splitlines()
    assert [line.strip() for line in lines[2:]] == ["data\\udcff.csv", "two\\nlines", "['\\udcff', 'é']"]
    assert b'["\\udcff"' in exported(run, "csv").replace(b'""', b'"')
    assert reading.dataframe(run.folder)["result"].tolist() == found


@pytest.mark.parametrize(
    ("unit", "moment", "span"),
    [("us", "2024-01-02T00:00:00", "PT0.000001S"), ("ns", "2024-01-02T00:00:00.000000000", "PT0.000000001S")],
)
def test_arrays_of_times_are_no_numbers_in_json(tmp_path: Path, unit: str, moment: str, span: str) -> None:
    run = Run(tmp_path / "r", 2)
    moments = np.array(["2024-01-02", "NaT"], f"M8[{unit}]")
    run.add(((0, 2),), values=[{"a": moments, "b": np.array([1], f"m8[{unit}]")} for _ in range(2)])
    run.flush()
    first, _ = json.loads(exported(run, "json"))
    assert (first["a"], first["b"]) == ([moment, None], [span])


def test_empty_exports(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 2)
    assert exported(run, "json") == b"[]\n"
    assert exported(run, "jsonl") == b""
    assert exported(run, "table").decode().splitlines()[0].split()[0] == "index"


def test_an_unknown_format_is_named(run: Run) -> None:
    with pytest.raises(InputError, match="table, csv, json, jsonl, parquet"):
        reading.export(run.folder, "xml", io.BytesIO())


def test_dead_letters_are_grouped_by_cause(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 9)
    run.add(((0, 1),), letters=[letter(3), letter(4), letter(5, error="KeyError"), letter(7)])
    run.flush()
    run.add(((4, 5),))
    run.flush()
    letters = {found["index"]: found for found in reading.dead_letters(run.folder)}
    assert sorted(letters) == [3, 5, 7]
    assert letters[3]["parameters"] == {"x": 3, "y": 1.5}
    assert (letters[3]["message"], letters[3]["attempts"]) == ("bad 3", 4)
    causes = reading.causes(run.folder)
    assert [(cause.error, cause.place, cause.count, cause.ranges) for cause in causes] == [
        ("ValueError", "f.py:3 (f)", 2, ((3, 4), (7, 8))),
        ("KeyError", "f.py:3 (f)", 1, ((5, 6),)),
    ]
