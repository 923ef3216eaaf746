"""Vectorised functions: the mark, the columns in and out, and tables equal to those of scalar calls."""

from __future__ import annotations

import pickle
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttg
from ttg.errors import FunctionError
from ttg.function import function_from_text, is_marked, is_vectorized
from ttg.messages import Task, indices_of
from ttg.messages.rows import packed
from ttg.results.encode import decode_payload, encode_rows
from ttg.space import Space, space_to_json
from ttg.spec import FunctionRef, RunSpec
from ttg.worker import execution
from ttg.worker.batches import Batches
from ttg.worker.execution import Execution
from ttg.worker.loading import Loaded, Pace, load_run
from ttg.worker.protocol import Report


def loaded(function: Callable[..., Any], space: Space, *, vectorized: bool = True) -> Loaded:
    spec = RunSpec(
        "run", FunctionRef("module", "m", "f"), space_to_json(space), len(space), space.names, vectorized=vectorized
    )
    return Loaded(spec, function, space.names, space, Pace(1e-7, 8.0, 1 << 20))


def execute(
    function: Callable[..., Any], space: Space, *, vectorized: bool = True, task: Task | None = None
) -> tuple[Report, pa.RecordBatch]:
    task = task or Task("run", "c", ((0, len(space)),))
    run = Execution(task, loaded(function, space, vectorized=vectorized), vectorized)
    run.run(60.0, lambda *_: None, lambda: False)
    report, payload = run.report(1)
    parts = [*indices_of(report.done), *(f.index for f in report.failures), *indices_of(report.remaining)]
    assert sorted(parts) == list(indices_of(task.ranges))
    return report, decode_payload(payload) if payload else None


# -- the mark


def test_the_mark_changes_nothing_for_calls_by_hand_and_travels_with_the_function() -> None:
    @ttg.vectorized
    def double(x: Any) -> Any:
        return 2 * x

    assert double(3) == 6
    assert is_vectorized(double)
    assert is_vectorized(partial(double, 1))
    assert is_vectorized(pickle.loads(cloudpickle.dumps(double)))
    assert not is_vectorized(lambda x: x)


@pytest.mark.parametrize("thing", [len, 5])
def test_what_cannot_be_marked_is_refused(thing: Any) -> None:
    with pytest.raises(FunctionError, match=r"ttg\.vectorized"):
        ttg.vectorized(thing)


@pytest.mark.parametrize(
    ("source", "marked"),
    [
        ("import ttg\n@ttg.vectorized\ndef f(x): return x", True),
        ("import ttg as t\n@t.vectorized\ndef f(x): return x", True),
        ("from ttg import vectorized\n@vectorized\ndef f(x): return x", True),
        ("from ttg import vectorized as v\n@v\ndef f(x): return x", True),
        ("import ttg\n@ttg.vectorized\ndef g(x): return x\ndef f(x): return x", False),
        ("def vectorized(f): return f\n@vectorized\ndef f(x): return x", False),
    ],
)
def test_the_mark_is_read_without_running_the_module(source: str, marked: bool, tmp_path: Path) -> None:
    (tmp_path / "sim.py").write_text(source + "\nraise SystemExit('this module ran')")
    target = function_from_text("sim.py:f", ["x"], cwd=tmp_path)
    assert is_marked(target, tmp_path) is marked


def test_a_marked_function_is_checked_against_the_space(tmp_path: Path) -> None:
    (tmp_path / "sim.py").write_text("import ttg\n@ttg.vectorized\ndef f(x): return x")
    with pytest.raises(FunctionError, match="does not take 'y'"):
        function_from_text("sim.py:f", ["y"], cwd=tmp_path)


def spec_of(source: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> RunSpec:
    (folder / "module_of_this_test.py").write_text(source)
    monkeypatch.chdir(folder)
    space = ttg.grid(x=[1.0, 2.0])
    return RunSpec("run", function_from_text("module_of_this_test.py:f"), space_to_json(space), 2, space.names)


def test_the_child_sees_marks_that_the_source_does_not_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = spec_of("import ttg\nf = ttg.vectorized(lambda x: x)", monkeypatch, tmp_path)
    assert load_run(spec, None).spec.vectorized


def test_one_rng_for_many_parameters_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = spec_of("import ttg\n@ttg.vectorized\ndef f(x, rng): return x", monkeypatch, tmp_path)
    with pytest.raises(FunctionError, match="ask for seed"):
        load_run(spec, None)


def test_seeds_are_those_of_scalar_calls() -> None:
    task, space = Task("run", "c", ((0, 100),)), ttg.grid(x=range(100))
    columns = []
    for vectorized in (True, False):
        work = loaded(lambda seed: seed, space, vectorized=vectorized)
        work.order = ("seed",)
        columns.append(list(work.columns_of(task, 0, 100)[0]))
    assert columns[0] == columns[1]


# -- columns in


SPACES = {
    "range": ttg.grid(a=range(100)),
    "product": ttg.grid(a=range(5), b=ttg.linspace(0, 1, 4), c=["x", "y", "z"]),
    "zip": ttg.zip(a=[1.0, 2.0, 3.0], b=[1.0, 2.0, 3.0]),
    "logspace": ttg.grid(a=ttg.logspace(0, 3, 20), b=[True]),
    "sum": ttg.grid(a=[1, 2], b=[0.5]) + ttg.grid(a=[3], b=[1.5, 2.5]),
    "sample": ttg.sample(30, a=ttg.uniform(0, 1), b=ttg.choice(1, 2), method="lhs"),
}


@pytest.mark.parametrize("name", SPACES)
def test_arrays_are_the_functions_own_and_hold_what_scalar_calls_get(name: str) -> None:
    space = SPACES[name]
    work, task = loaded(print, space), Task("run", "c", ((0, len(space)),))

    first: Sequence[Any] = work.columns_of(task, 0, len(space))
    assert [column.tolist() for column in first] == [list(column) for column in space.columns(0, len(space)).values()]
    for place, column in enumerate(first):
        assert column.flags.writeable
        assert not any(np.shares_memory(column, other) for other in first[:place])
        column[:] = column[0]

    again: Sequence[Any] = work.columns_of(task, 0, len(space))
    assert [column.tolist() for column in again] == [list(column) for column in space.columns(0, len(space)).values()]


def test_a_function_may_change_its_arrays_and_use_its_buffers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "BATCH_ROWS", 8)
    buffer = np.empty(8)

    def function(x: np.ndarray) -> dict[str, np.ndarray]:
        x *= 2.0
        if (x == 74).any():
            raise ValueError("37")
        np.add(x, 1, out=buffer[: len(x)])
        return {"doubled": x, "plus": buffer[: len(x)]}

    report, batch = execute(function, ttg.grid(x=ttg.linspace(0, 99, 100)))
    expected = [2.0 * i for i in range(100) if i != 37]
    assert batch.column("doubled").to_pylist() == expected
    assert batch.column("plus").to_pylist() == [value + 1 for value in expected]
    assert [failure.index for failure in report.failures] == [37]


def test_parameters_that_travel_in_the_task_arrive_as_arrays_and_go_into_the_table() -> None:
    rows = [{"x": float(i), "y": "ab"[i % 2]} for i in range(5)]
    task = Task("run", "c", ((0, 2), (7, 10)), rows=packed({name: [row[name] for row in rows] for name in "xy"}))
    _, batch = execute(lambda x, y: x + (y == "a"), ttg.rows(rows * 2), task=task)
    assert batch.column("result").to_pylist() == [1.0, 1.0, 3.0, 3.0, 5.0]
    assert batch.column("__param_y").to_pylist() == [row["y"] for row in rows]


# -- columns out

Pair = namedtuple("Pair", "a b")
PairClass = make_dataclass("PairClass", ["a", "b"])
A, B = np.array([1.0, np.nan, 3.0]), np.array([1, 2, 3])


@pytest.mark.parametrize(
    "result",
    [
        {"a": A, "b": B},
        {"a": A.tolist(), "b": B.tolist()},
        Pair(A, B),
        PairClass(A, B),
        np.rec.fromarrays([A, B], names="a,b"),  # type: ignore[call-overload]
        pd.DataFrame({"a": A, "b": B}),
        pa.table({"a": A, "b": B}),
        {"a": pd.Series(A, index=[7, 8, 9]), "b": pa.array(B)},
    ],
    ids=lambda result: type(result).__name__,
)
def test_every_form_of_columns_gives_the_same_payload(result: Any) -> None:
    batches = Batches()
    batches.take(result, 3)
    batch = decode_payload(batches.payload(None, {}))
    assert batch.schema.names == ["a", "b"]
    np.testing.assert_array_equal(batch.column("a").to_numpy(zero_copy_only=False), A)
    assert batch.column("b").to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    "column",
    [
        [0.5, float("nan"), float("inf")],
        [1, 2, 3],
        [True, False, True],
        ["a", "", "längst"],
        np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        np.arange(12).reshape(3, 2, 2),
        np.array([1 + 2j, 3j, 0]),
        np.array([[1 + 2j], [3j], [0]]),
        np.array(["2026-01-01", "NaT", "2026-01-03"], "M8[s]"),
        np.array([1, 2, 3], "m8[ms]"),
        np.array([1.5, None, 2.5], object),
        np.array([{"a": 1}, {"a": 2}, {"a": 3}], object),
        np.arange(6.0)[::2],
        np.array([1.0, 2.0, 3.0], ">f8"),
        np.array([1.0, 2.0, 3.0], np.longdouble),
        [[1], [2, 3], []],
        [1, "a", None],
    ],
    ids=str,
)
def test_columns_are_stored_as_scalar_results_are(column: Any) -> None:
    items = np.asarray(column) if isinstance(column, list) and not isinstance(column[0], (list, int)) else column
    batches = Batches()
    batches.take({"v": items}, 3)
    found = decode_payload(batches.payload(None, {}))
    wanted = decode_payload(encode_rows([{"v": item} for item in column]))
    assert found.schema.equals(wanted.schema, check_metadata=True)
    assert str(found.to_pylist()) == str(wanted.to_pylist())


def test_what_is_masked_is_null_and_structures_nest() -> None:
    batches = Batches()
    inner = np.array([(1, 2.0), (3, 4.0)], [("n", "i4"), ("x", "f2")])
    batches.take({"m": np.ma.masked_array([1.0, 2.0], [False, True]), "s": inner}, 2)
    rows = decode_payload(batches.payload(None, {})).to_pylist()
    assert rows == [{"m": 1.0, "s": {"n": 1, "x": 2.0}}, {"m": None, "s": {"n": 3, "x": 4.0}}]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (5.0, "expected a column of 3 values for 'result' .*, got a single value"),
        (np.float64(5), "a single value"),
        ({"a": A, "b": 1}, "'b' .*, got a single value"),
        ({"a": A, "b": B[:2]}, "expected a column of 3 values for 'b' .*, got 2 values"),
        (None, "expected an array or a list .*, got NoneType"),
        ((A, B), "got tuple"),
        ({"a": {"b": A}}, "got dict"),
        ({}, "at least one column"),
    ],
)
def test_what_is_not_columns_of_the_right_length_is_an_error(result: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Batches().take(result, 3)


# -- batches


@given(st.lists(st.sampled_from(["f8", "f4", "i8", "i2", "u1", "?", "U3", "O"]), min_size=1, max_size=6), st.data())
def test_batches_that_differ_are_joined_and_can_be_cut(kinds: list[str], data: st.DataObject) -> None:
    batches, expected = Batches(), []
    for kind in kinds:
        values = np.arange(1, 4).astype(kind)
        batches.take(values, 3)
        expected += values.tolist()
    position = data.draw(st.integers(0, len(expected) - 1))
    rows = data.draw(st.integers(1, len(expected)))
    del expected[position]
    batches.drop(position)
    batches.keep(rows)
    batch = decode_payload(batches.payload(None, {})) if batches.count else None
    found = batch.column(0).to_pylist() if batch else []
    assert batches.count == len(found) == len(expected[:rows])
    if len(set(kinds) & {"?", "U3", "O"}) == 0:
        assert found == expected[:rows]


def test_columns_that_come_and_go_are_null_where_they_were_not() -> None:
    batches = Batches()
    batches.take({"a": np.array([1, 2])}, 2)
    batches.take({"a": np.array([0.5]), "b": np.array(["x"])}, 1)
    rows = decode_payload(batches.payload(None, {})).to_pylist()
    assert rows == [{"a": 1.0, "b": None}, {"a": 2.0, "b": None}, {"a": 0.5, "b": "x"}]


@dataclass
class Poison:
    """A vectorised function that fails for some values, by raising or by what cannot be stored."""

    raising: set[int]
    unstorable: set[int]

    def __call__(self, x: np.ndarray) -> np.ndarray | list[Any]:
        if self.raising & set(x.tolist()):
            raise ValueError("poison")
        if self.unstorable & set(x.tolist()):
            return [object() if value in self.unstorable else value / 2 for value in x.tolist()]
        return x / 2


@given(
    st.sets(st.integers(0, 199), max_size=5), st.sets(st.integers(0, 199), max_size=3), st.sampled_from([7, 64, 512])
)
def test_a_failing_batch_is_split_down_to_the_culprits(raising: set[int], unstorable: set[int], rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "BATCH_ROWS", rows)
        report, batch = execute(Poison(raising, unstorable), ttg.grid(x=range(200)))
    bad = raising | unstorable
    assert batch.column("result").to_pylist() == [i / 2 for i in range(200) if i not in bad]
    kinds = {failure.index: failure.kind for failure in report.failures}
    assert kinds == {i: "exception" if i in raising else "encoding" for i in bad}


def test_columns_too_large_for_a_message_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MAX_PAYLOAD_BYTES", 10_000)
    report, batch = execute(lambda x: {"wide": np.zeros((len(x), 100)) + x[:, None]}, ttg.grid(x=range(100)))
    assert 1 <= batch.num_rows <= 12
    assert report.remaining == ((batch.num_rows, 100),)

    report, _ = execute(lambda x: np.zeros((len(x), 10_000)), ttg.grid(x=[1, 2]))
    assert [failure.kind for failure in report.failures] == ["encoding"] * len(report.failures) != []


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 2**60 + 1]),
        pa.chunked_array([[1, None], [2**60 + 1]]),
        pd.Series([1, None, 2**60 + 1], dtype="Int64"),
    ],
    ids=["Arrow", "chunks", "pandas"],
)
def test_what_is_missing_in_a_table_is_null(column: Any) -> None:
    batches = Batches()
    batches.take({"v": column, "t": pd.Series(["a", None, "b"])}, 3)
    found = decode_payload(batches.payload(None, {}))
    assert found.to_pydict() == {"v": [1, None, 2**60 + 1], "t": ["a", None, "b"]}
