"""Choosing rows of a run, going through them in batches, asking in SQL, files that appear when they are complete."""

from __future__ import annotations

import io
import os
import runpy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from results_fakes import Run

from ttg.cli import main
from ttg.errors import InputError
from ttg.results import reading, selection
from ttg.results.selection import bitmap_of, select
from ttg.results.sql import sql
from ttg.run.saved import Run as UserRun


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Indices 0 to 29 in three parts of ten, in row groups of four and windows of eight; 30 is dead."""
    monkeypatch.setattr("ttg.results.selection.WINDOW_ROWS", 8)
    monkeypatch.setattr("ttg.results.pieces.ROW_GROUP_ROWS", 4)
    run = Run(tmp_path / "r", 31)
    for start in (0, 10, 20):
        run.add(((start, start + 10),))
        run.flush()
    run.add((), dead=[30])
    run.flush()
    return run


def indices(run: Run, **chosen: Any) -> list[int]:
    found: list[int] = reading.table(run.folder, ["index"], **chosen)["index"].to_pylist()
    return found


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (7, [7]),
        (range(8, 12), [8, 9, 10, 11]),
        (range(12, 0, -4), [4, 8, 12]),
        ([range(3), 29, 5, range(4, 4)], [0, 1, 2, 5, 29]),
        (range(28, 31), [28, 29]),
        ([], []),
    ],
)
def test_numbers_and_ranges_choose_rows(run: Run, chosen: Any, expected: list[int]) -> None:
    assert indices(run, indices=chosen) == expected


@pytest.mark.parametrize("wrong", [31, -1, [3, 31], range(30, 32), range(10**15), [1.5], ["a"], [True, None]])
def test_an_index_that_the_run_has_not_is_named(run: Run, wrong: Any) -> None:
    with pytest.raises(InputError, match="expected indices from 0 to 30"):
        bitmap_of(wrong, 31)


def test_limit_and_tail(run: Run) -> None:
    assert list(select(run.folder, tail=2).indices) == [28, 29]
    assert list(select(run.folder, limit=5, tail=2).indices) == [3, 4]
    assert select(run.folder, tail=0).rows == select(run.folder, limit=0).rows == 0
    with pytest.raises(InputError, match="tail: expected"):
        select(run.folder, tail=-1)


def test_a_condition_comes_before_the_limit_and_an_order_too(run: Run) -> None:
    assert list(select(run.folder, where="result > 100 and x != 15", limit=6, tail=3).indices) == [14, 16, 17]
    assert list(select(run.folder, indices=range(20), where="index % 7 == 0").indices) == [0, 7, 14]
    chosen = select(run.folder, ["index"], sort="-result", limit=20, tail=17)
    assert [window.num_rows for window in chosen.windows()] == [8, 8, 1]
    assert chosen.gathered()["index"].to_pylist() == list(range(26, 9, -1))
    assert select(run.folder, ["x"], where="x < 3", sort="worker, x desc").gathered()["x"].to_pylist() == [2, 1, 0]
    assert select(run.folder, where="x > 99").gathered().num_rows == 0
    assert select(run.folder, where="x > 99", sort="x").gathered().num_rows == 0
    with pytest.raises(InputError, match="no column 'resutl': did you mean result"):
        select(run.folder, sort="-resutl")


def test_missing_values_come_last_in_either_order(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 4)
    run.add(((0, 4),), values=[2.0, None, float("nan"), 3.0])
    run.flush()
    for sort, expected in (("result", [0, 3, 2, 1]), ("-result", [3, 0, 2, 1])):
        assert select(run.folder, sort=sort).gathered()["index"].to_pylist() == expected


def test_only_the_row_groups_with_wanted_rows_are_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, list[int]]] = []
    original = pq.ParquetFile.read_row_groups

    def watched(file: Any, groups: list[int], names: list[str]) -> pa.Table:
        read.append((file.metadata.num_rows, groups))
        return original(file, groups, names)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", watched)
    assert indices(run, indices=[11, 19]) == [11, 19]
    assert read == [(10, [0, 2])]


def test_batches_are_bounded_and_complete(run: Run) -> None:
    batches = list(UserRun(run.folder).batches(["result"], range(20), rows=3))
    assert max(batch.num_rows for batch in batches) == 3
    assert pa.Table.from_batches(batches)["result"].to_pylist() == [10.0 * index for index in range(20)]
    with pytest.raises(InputError, match="size of a batch"):
        reading.batches(run.folder, rows=0)


def test_a_run_can_be_indexed(run: Run) -> None:
    user = UserRun(run.folder)
    assert (user[7]["result"], user[-2]["index"]) == (70.0, 29)
    assert user[25:]["index"].to_pylist() == [25, 26, 27, 28, 29]
    with pytest.raises(InputError, match="index 30 has no result: it is a dead letter"):
        user[30]
    with pytest.raises(InputError, match="from 0 to 30"):
        user[31]


def test_a_table_that_does_not_fit_is_refused_with_ways_that_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "available_bytes", lambda: 300)
    with pytest.raises(InputError, match=r"30 rows of 7 columns need about .* GB are free: choose columns.*batches"):
        reading.dataframe(run.folder)
    assert indices(run, indices=range(3)) == [0, 1, 2]
    monkeypatch.setattr(selection, "available_bytes", lambda: None)
    assert len(indices(run)) == 30


def test_free_memory_is_that_of_machine_and_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ttg.results import memory

    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP_LIMIT", tmp_path / "max")
    assert memory.available_bytes() is None
    (tmp_path / "meminfo").write_text("MemFree: 1 kB\nMemAvailable:   5 kB\n")
    (tmp_path / "max").write_text("max\n")
    assert memory.available_bytes() == 5 << 10
    (tmp_path / "max").write_text("4096\n")
    assert memory.available_bytes() == 4096


def test_questions_in_sql(run: Run, tmp_path: Path) -> None:
    assert sql(run.folder, "select count(*), max(result) from results where x >= 10").fetchall() == [(20, 290.0)]
    assert sql(Run(tmp_path / "empty", 3).folder, "select count(*) from results").fetchall() == [(0,)]
    with pytest.raises(InputError, match="DuckDB refuses"):
        sql(run.folder, "select nothing from results")
    with pytest.raises(InputError, match="expected a query"):
        sql(run.folder, "")


def test_sql_reads_parts_that_still_disagree(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 4)
    for start, values in ((0, [1, 2]), (2, [0.5, 1.5])):
        run.add(((start, start + 2),), values=values)
        run.flush()
    assert sql(run.folder, "select sum(result) from results").fetchall() == [(5.0,)]


def test_columns_that_sql_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 2)
    run.add(((0, 2),), values=[{"A": 1, "a": 2}, {"A": 3, "a": 4}])
    run.flush()
    with pytest.raises(InputError, match="'A' and 'a'"):
        sql(run.folder, "select a from results")


def test_arrow_export_is_a_stream(run: Run) -> None:
    file = io.BytesIO()
    assert reading.export(run.folder, "arrow", file, indices=range(5, 15)) == 10
    assert pa.ipc.open_stream(file.getvalue()).read_all()["index"].to_pylist() == list(range(5, 15))


# ---------------------------------------------------------------------------------------------- the command


def command(run: Run, *arguments: str) -> int:
    return main(["results", str(run.folder.path), *arguments])


def test_the_file_s_name_says_its_format(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "some.csv"
    assert command(run, "--index", "2,4-5", "--columns", "index, result", "--out", str(out)) == 0
    assert out.read_text().splitlines() == ['"index","result"', "2,20", "4,40", "5,50"]
    assert "3 rows written" in capfd.readouterr().err
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_failed_export_leaves_what_was_there(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "some.csv"
    out.write_text("before")
    monkeypatch.setattr("ttg.results.selection._window", lambda *_: os.close(-1))
    assert command(run, "--out", str(out)) == 3
    assert out.read_text() == "before"
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_device_is_not_replaced(run: Run) -> None:
    assert command(run, "--out", os.devnull, "--format", "csv") == 0
    assert not Path(os.devnull).is_file()


def test_the_command_says_that_there_are_more_rows(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(run, "--tail", "2", "--columns", "index") == 0
    assert capfd.readouterr().out.split() == ["index", "-----", "28", "29"]


@pytest.mark.parametrize("name", ["x.xlsx", "table", "sim.py"])
def test_an_unknown_ending_is_refused_with_the_known_ones(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    assert command(run, "--out", str(tmp_path / name)) == 2
    assert "ends in .csv, .json, .jsonl, .parquet, .arrow, .ndjson, .txt, got " in capfd.readouterr().err
    assert not (tmp_path / name).exists()
    assert command(run, "--out", str(tmp_path / name), "--format", "csv") == 0


def test_conditions_and_orders_on_the_command_line(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    words = ("--where", "x > 3 and result != 60", "--sort", "-x", "--columns", "x", "--format", "csv", "--out", "-")
    assert command(run, *words, "--limit", "2") == 0
    assert capfd.readouterr().out.split() == ['"x"', "29", "28"]
    assert command(run, "--where", "x > 100") == 0
    assert "none of 30 rows meets the condition" in capfd.readouterr().err


def test_an_empty_list_of_columns_is_no_request_for_all(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(run, "--columns", "") == 2
    assert "no column ''" in capfd.readouterr().err


def test_a_table_of_dead_letters_only_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path / "r", 3)
    run.add((), dead=[0, 1, 2])
    run.flush()
    assert command(run) == 0
    said = capfd.readouterr()
    assert said.out == ""
    assert "run r1 has no results: every parameter failed, `ttg failed r1 --group` shows why" in said.err


def test_sql_on_the_command_line(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(run, "--sql", "select count(*) n from results", "--format", "jsonl") == 0
    assert capfd.readouterr().out == '{"n":30}\n'
    twice = "select x, x from results where x = 3"
    assert command(run, "--sql", twice, "--format", "jsonl") == 0
    assert capfd.readouterr().out == '{"x":3,"x_1":3}\n'
    assert command(run, "--sql", "select 1", "--limit", "3") == 2
    assert "--limit does not go with --sql" in capfd.readouterr().err


def test_the_example_aggregates(run: Run) -> None:
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "ask_duckdb.py"))
    assert example["groups"](UserRun(run.folder), "worker", "result") == [("w1", 30, 145.0, 0.0, 290.0)]
