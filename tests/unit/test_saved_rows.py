"""Rows in a run's folder: the space that they make is the one that was saved."""

from __future__ import annotations

import datetime as dt
import enum
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ttg.errors import SpaceError, StorageError
from ttg.function.members import loaded_member
from ttg.messages.rows import packed
from ttg.results import row_file
from ttg.results.folder import RunFolder
from ttg.results.rows import save_rows, space_of
from ttg.space import Space, from_file, grid, rows, space_to_json
from ttg.spec import FunctionRef, RunSpec


class Kind(enum.Enum):
    CALL = 1


def saved(tmp_path: Path, space: Space, version: int = 3) -> RunFolder:
    spec = RunSpec("r", FunctionRef("module", "m", "f"), space_to_json(space), len(space), space.names, version=version)
    folder = RunFolder.create(tmp_path / "run", spec)
    save_rows(folder, space)
    return RunFolder.open(folder.path)


HARD: dict[str, tuple[pa.Array, str]] = {
    "too large": (pa.array([1, None, 1 << 63, 2], pa.uint64()), "9223372036854775808 does not fit 64 bits"),
    "within": (pa.array([[1], None, [1 << 63]], pa.list_(pa.uint64())), "9223372036854775808 does not fit 64 bits"),
    "too fine": (pa.array([0, 1001, 2000], pa.timestamp("ns")), "holds times with nanoseconds"),
    "too late": (pa.array([0, 10**12, 1], pa.timestamp("s")), "Python, which knows the years 1 to 9999"),
    "later": (pa.array([0, 10**15, 1], pa.timestamp("s")), "Python, which knows the years 1 to 9999"),
    "long": (pa.array(["a", "b" * (9 << 20), None]), "a value of 9 MiB is too large to travel"),
    "dict": (pa.array([{"a": 1}, {"a": 1 << 63}], pa.struct({"a": pa.uint64()})), "does not fit 64 bits"),
}


@pytest.mark.parametrize("name", HARD)
def test_what_a_parquet_file_has_far_behind_is_refused_before_the_run(name: str, tmp_path: Path) -> None:
    """300,000 rows ended at 99 %, with a file that the run's folder no longer had, and could not be resumed."""
    column, words = HARD[name]
    easy = pa.nulls(3, column.type)
    pq.write_table(pa.table({"x": pa.chunked_array([easy, column, easy])}), tmp_path / "t.parquet", row_group_size=3)
    with pytest.raises(SpaceError, match=f"t.parquet, column 'x': .*{words}"):
        saved(tmp_path, from_file(tmp_path / "t.parquet"))


def test_what_python_has_is_not_refused(tmp_path: Path) -> None:
    table = {
        "a": pa.array([1, (1 << 63) - 1, None], pa.uint64()),
        "b": pa.array([0, 253_402_300_799, None], pa.timestamp("s")),
        "c": pa.array([[b"x"], [], None]),
        "d": pa.array(["x", "y", None]).dictionary_encode(),
        "e": pa.array([{"f": None}, None, {"f": [1]}]),
        "g": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "h": pa.array([None, None, None], pa.time64("ns")),
        "i": pa.array(["1", "2", None]).cast(pa.decimal128(20, 3)),
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    space = from_file(tmp_path / "t.parquet")
    assert list(space_of(saved(tmp_path, space))) == list(space)


def test_any_sources_come_back_in_their_places(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("my id,b,a\n1,2,x\n3,4,y\n")
    (tmp_path / "l.txt").write_text("one\ntwo\n")
    parts: list[Any] = [rows([{"n": number}]) for number in range(11)]
    space = (
        from_file(tmp_path / "t.csv", ["a", "b"])
        * rows([{"k": Kind.CALL}, {"k": float("nan")}, {"k": (dt.date(2024, 1, 2),)}])
        * from_file(tmp_path / "l.txt", ["l"])
        * reduce(add, parts)
        * grid(z=[1, 2])
    )
    found = space_of(saved(tmp_path, space), loaded_member)
    assert found == space
    assert list(map(str, found)) == list(map(str, space))
    assert list(map(str, space_of(RunFolder.open(tmp_path / "run")))) != list(map(str, space))  # members are named only
    assert space_of(RunFolder.open(tmp_path / "run")) == space


VALUES = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(), st.booleans(), st.tuples(st.integers(0, 9))
)


@settings(deadline=None)
@example([[None], [None, 1]], 1)
@example([[1], [2.5]], 1)
@given(st.lists(st.lists(st.one_of(VALUES, st.just("\udce4")), min_size=1), min_size=1, max_size=3), st.integers(1, 4))
def test_any_value_comes_back_from_the_file_wherever_its_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, columns: list[list[Any]], block: int
) -> None:
    count = max(map(len, columns))
    made = {f"x{n}": [column[i % len(column)] for i in range(count)] for n, column in enumerate(columns)}
    space = rows([dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)])
    path = tmp_path_factory.mktemp("rows") / "0.arrow"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_file, "BLOCK_ROWS", block)
        row_file.write_rows(path, space)
    found = row_file.SavedRows(path)
    assert (found.form(), found.names, len(found)) == (space.form(), space.names, len(space))
    assert list(map(repr, found)) == list(map(repr, space))
    middle = count // 2
    assert repr(found.columns(middle, count)) == repr(space.columns(middle, count))
    assert packed(found.encoded_columns(0, middle)) == packed(space.encoded_columns(0, middle))


def test_a_damaged_file_of_rows_is_said_to_be_one(tmp_path: Path) -> None:
    folder = saved(tmp_path, rows([{"x": 1}]))
    (file,) = (folder.path / "rows").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"0\.arrow is damaged"):
        space_of(folder)


def test_dates_of_a_parquet_file_stay_text_in_a_run_of_version_2(tmp_path: Path) -> None:
    pq.write_table(pa.table({"d": [dt.date(2024, 1, 2)], "n": [[dt.time(1)]]}), tmp_path / "t.parquet")
    folder = saved(tmp_path, from_file(tmp_path / "t.parquet"), version=2)
    assert list(space_of(folder)) == [{"d": "2024-01-02", "n": ["01:00:00"]}]
    folder.update(spec=msgspec.structs.replace(folder.spec, version=3))
    assert list(space_of(folder)) == [{"d": dt.date(2024, 1, 2), "n": [dt.time(1)]}]
