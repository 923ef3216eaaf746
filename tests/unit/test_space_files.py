"""Rows of files."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ttg.errors import SpaceError
from ttg.space import from_file, grid, readers, rows, space_from_json, space_to_json
from ttg.space.readers import BLOCK_ROWS, MANY_ROWS, CsvReader, kind_of, kinds_of

MANY = [{"i": index, "x": index / 8, "s": f"name {index}", "b": index % 2 == 0} for index in range(2 * BLOCK_ROWS + 5)]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    write(path, "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    write(path, "\n".join(map(json.dumps, rows)))


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=BLOCK_ROWS + 100)


@pytest.mark.parametrize(("suffix", "save"), [("csv", write_csv), ("jsonl", write_jsonl), ("parquet", write_parquet)])
def test_rows_come_back_in_any_order(tmp_path: Path, suffix: str, save: Any) -> None:
    path = tmp_path / f"rows.{suffix}"
    save(path, MANY)
    space = from_file(path)
    assert (len(space), space.names, space.computable) == (len(MANY), ("i", "x", "s", "b"), False)
    assert list(space) == MANY
    for index in (0, BLOCK_ROWS, BLOCK_ROWS - 1, len(MANY) - 1, -1, 3):
        assert space[index] == MANY[index]
        assert list(map(type, space[index].values())) == [int, float, str, bool]
    indices = np.array([5, 6, 7, BLOCK_ROWS + 3, 0])
    assert space.arrays(indices)["x"].tolist() == [MANY[index]["x"] for index in indices]
    assert space.columns(4, 4)["i"] == []


def test_only_a_fingerprint_travels(tmp_path: Path) -> None:
    space = from_file(write(tmp_path / "a.csv", "x\n1\n2\n")) * grid(y=[1, 2])
    data = space_to_json(space)
    assert data["factors"][0].keys() == {"space", "names", "count", "fingerprint"}
    assert list(space_from_json(data, space.sources())) == list(space)
    assert from_file(write(tmp_path / "b.csv", "x\n1\n2\n")) == space.factors[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ("0 1 -7 +3 9223372036854775807", "int"),
        ("0.5 .5 1. 1e3 -2.5E-7 nan NaN inf -Inf", "float"),
        ("true False TRUE", "bool"),
        ("1e999 -1e999", "huge"),
        ("007 1_000 0x10 9223372036854775808 1.2.3 ١ e5 .", "text"),
    ],
)
def test_kinds_of_cells(cells: str, kind: str) -> None:
    assert {cell: kind_of(cell) for cell in cells.split()} == dict.fromkeys(cells.split(), kind)


@example(column=["0", ""])
@given(st.lists(st.one_of(st.integers().map(str), st.floats().map(str), st.text("01.e-\n ", max_size=4)), min_size=1))
def test_kinds_of_a_column_are_those_of_its_cells(column: list[str]) -> None:
    expected = set(map(kind_of, column))
    assert kinds_of(column) in (expected, expected - {"int"} or expected)


@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=20),
    st.sampled_from(["", "+1.5", " 2", "1.", ".5", "-Inf"]),
)
def test_floats_are_the_nearest_ones_however_many_there_are(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], odd: str
) -> None:
    cells = [*map(repr, values), "0.1", *([odd] if odd else [])]
    column = cells * (MANY_ROWS // len(cells) + 1)
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", "x\n" + "\n".join(column))
    assert list(map(repr, from_file(path).columns(0, len(column))["x"])) == [repr(float(cell)) for cell in column]


def test_csv_types_are_those_of_whole_columns(tmp_path: Path) -> None:
    text = 'i,f,b,s,e,mixed\n1,1,true,"a, ""b""\nc",,1\n,2.5,,007,,x\n\n'
    assert list(from_file(write(tmp_path / "a.csv", "\ufeff" + text))) == [
        {"i": 1, "f": 1.0, "b": True, "s": 'a, "b"\nc', "e": None, "mixed": "1"},
        {"i": None, "f": 2.5, "b": None, "s": "007", "e": None, "mixed": "x"},
    ]


@pytest.mark.parametrize(("name", "text"), [("a.csv", "x;y\n1;2\n"), ("a.tsv", "x\ty\n1\t2\n")])
def test_other_delimiters(tmp_path: Path, name: str, text: str) -> None:
    assert list(from_file(write(tmp_path / name, text))) == [{"x": 1, "y": 2}]


PLAIN = st.text("ab 1.,;\u2028\x0b", max_size=4)


@given(
    st.lists(st.lists(PLAIN, min_size=2, max_size=2), min_size=1, max_size=12),
    st.sampled_from(["", "\n", "\r\n", '"q"']),
    st.booleans(),
)
def test_lines_without_quotes_are_what_the_parser_makes_of_them(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]], end: str, ends: bool
) -> None:
    lines = ["\t".join(["t", *row]) for row in cells]
    text = "\n".join(lines) + "\n" * ends + (f"\nt\tx\ty{end}" if end else "")
    path = tmp_path_factory.mktemp("csv") / "a.tsv"
    path.write_bytes(f"k\ta\tb\n{text}".encode())
    parsed = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True) if row]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "BLOCK_ROWS", 3)
        reader = CsvReader(path)
        found = [row for offset in reader._offsets for row in reader._block(offset)[0]]
    assert (found, reader.count) == (parsed, len(parsed))


def test_quoted_line_breaks_do_not_confuse_the_blocks(tmp_path: Path) -> None:
    count = BLOCK_ROWS + 10
    path = write(tmp_path / "a.csv", "i,s\n" + "".join(f'{index},"a\n\n{index}"\n' for index in range(count)))
    assert from_file(path)[count - 1] == {"i": count - 1, "s": f"a\n\n{count - 1}"}


def test_jsonl_numbers_of_a_column_have_one_type(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"x": 1, "y": null}\n\n{"y": [1], "x": 2.5}\n')
    assert list(map(str, from_file(path))) == ["{'x': 1.0, 'y': None}", "{'x': 2.5, 'y': [1]}"]
    path = write(tmp_path / "b.jsonl", '{"x": 9007199254740993}\n{"x": 0.5}\n')
    assert list(map(str, from_file(path))) == ["{'x': 9007199254740993}", "{'x': 0.5}"], "no float equals the first"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.dat", "x", "ends with one of .csv"),
        ("a.txt", "x\n", "say which one parameter they are"),
        ("a.csv", "", "is empty"),
        ("a.csv", "x,y\n", "has no rows"),
        ("a.csv", "x,y\n1,2\n3\n", "row 2: expected 2 cells, got 1"),
        ("a.csv", "x,x\n1,2\n", "given twice"),
        ("a.csv", "my x\n1\n", "cannot be a parameter name"),
        ("a.csv", "x\n1\n1e999\n", "beyond what a float can be"),
        ("a.csv", 'x\n"1\n', "line 2: unexpected end of data"),
        ("a.jsonl", "", "has no rows"),
        ("a.jsonl", '{"x": 1}\n{"y": 1}\n', "line 2: expected the keys x, got y"),
        ("a.jsonl", "[1]\n", "expected a JSON object"),
        ("a.jsonl", "{x}\n", "line 1: expected one JSON object per line"),
        ("a.jsonl", '{"x": 18446744073709551615}', "64 bits"),
        ("a.jsonl", '{"x": [1]}\n{"x": [-1e400]}', "line 2: -1e400 is beyond what a float can be"),
        ("a.csv", "x\r1\r", "expected lines that end with LF or CRLF"),
        ("a.parquet", "not parquet", "cannot be read as Parquet"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        from_file(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


def test_nan_is_a_number_in_every_format(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, float("nan"), float("inf"), None]}), tmp_path / "a.parquet")
    write(tmp_path / "a.csv", "x,y\n1,\nnan,\ninf,\n,\n")
    write(tmp_path / "a.jsonl", '{"x": 1}\n{"x": NaN}\n{"x": Infinity}\n{"x": null}\n')
    for suffix in ("parquet", "csv", "jsonl"):
        one, nan, inf, none = (row["x"] for row in from_file(tmp_path / f"a.{suffix}"))
        assert (type(one), nan != nan, inf, none) == (float, True, float("inf"), None)


def test_parquet_gives_what_python_has_for_it(tmp_path: Path) -> None:
    moment = dt.datetime(2024, 3, 1, 12, 30, 0, 5)
    expected = {
        "us": moment,
        "ns": moment,
        "utc": moment.replace(tzinfo=dt.UTC),
        "berlin": moment.replace(tzinfo=ZoneInfo("Europe/Berlin")),
        "offset": moment.replace(tzinfo=dt.timezone(dt.timedelta(hours=-3))),
        "day": dt.date(2024, 3, 1),
        "time": dt.time(1, 2, 3),
        "span": dt.timedelta(days=2),
        "price": Decimal("1.10"),
        "raw": b"\xff\0",
        "list": [1, 2],
        "struct": {"a": dt.date(2024, 3, 1)},
    }
    naive = pa.array([moment, None], pa.timestamp("us"))
    columns = {
        "us": naive,
        "ns": naive.cast(pa.timestamp("ns")),
        "utc": pc.assume_timezone(naive, "UTC"),
        "berlin": pc.assume_timezone(naive.cast(pa.timestamp("ns")), "Europe/Berlin"),
        "offset": pc.assume_timezone(naive, "-03:00"),
        **{name: pa.array([expected[name], None]) for name in list(expected)[5:]},
    }
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "a.parquet")
    for space in (from_file(tmp_path / "a.parquet"), rows(table)):
        first, second = space
        assert {name: (type(value), str(value)) for name, value in first.items()} == {
            name: (type(value), str(value)) for name, value in expected.items()
        }
        assert set(second.values()) == {None}
    pq.write_table(pa.table({"t": pa.array([1], pa.timestamp("ns"))}), tmp_path / "b.parquet")
    with pytest.raises(SpaceError, match="column 't': holds times with nanoseconds"):
        from_file(tmp_path / "b.parquet")[0]


@pytest.mark.parametrize("kind", ["int8", "int64", "uint64", "float16", "float32", "float64", "bool", "string"])
@pytest.mark.parametrize("none", [[], [None]])
def test_values_of_a_column_are_those_of_arrow(kind: str, none: list[None]) -> None:
    values = pa.array([0, 1, 3, 1, *none]).cast(pa.int8()).cast(kind)
    column = pa.chunked_array([values, values[1:3]])
    assert list(map(repr, readers.list_of(column))) == list(map(repr, column.to_pylist()))


def test_lines_are_values_of_one_parameter(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"data/a,b.csv\r\n\n\xe4 x.csv\n")
    space = from_file(tmp_path / "a.txt", ["path"])
    assert list(space) == [{"path": "data/a,b.csv"}, {"path": os.fsdecode(b"\xe4 x.csv")}]
    assert list(from_file(write(tmp_path / "b.txt", "1\n2.5\nnan"), ["x"]))[:2] == [{"x": 1.0}, {"x": 2.5}]


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "my id,b,a\n7,1,x\n8,2,y\n")
    space = from_file(path, ["a", "b"])
    assert list(space) == [{"a": "x", "b": 1}, {"a": "y", "b": 2}]
    assert space != from_file(path, ["a"])
    with pytest.raises(SpaceError, match="there is no column 'c'; it has 'my id', 'b', 'a'"):
        from_file(path, ["c"])


def test_missing_and_undecodable_files(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="No such file"):
        from_file(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes(b"x\n\xe4\n")
    with pytest.raises(SpaceError, match="can't decode"):
        from_file(tmp_path / "latin.csv")


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x\n1\n2\n")
    space = from_file(path)
    write(path, "x\n1\n23\n")
    with pytest.raises(SpaceError, match="was changed while in use"):
        space[0]
