"""Spaces: every way to look at one gives the same values."""

from __future__ import annotations

import enum
import itertools
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttg.errors import SpaceError
from ttg.space import (
    Space,
    choice,
    grid,
    linspace,
    logspace,
    loguniform,
    normal,
    range_,
    rows,
    sample,
    space_from_json,
    space_to_json,
    uniform,
    zip_,
)
from ttg.space.axes import COMPRESS_FROM, TABLE_SIZE, Linspace, Range, Values, make_axis
from ttg.space.build import TRAVEL_LIMIT
from ttg.space.values import DEEPEST


class NamedPair(NamedTuple):
    a: int
    b: int


class Flags(enum.Flag):
    A = 1
    B = 2


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


FLOATS = st.floats(-1e6, 1e6, allow_nan=False)
SCALARS = st.one_of(st.integers(-(2**63), 2**63 - 1), FLOATS, st.booleans(), st.none(), st.text(max_size=5))


def axes_of(length: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(SCALARS, min_size=length, max_size=length),
        st.lists(FLOATS, min_size=length, max_size=length).map(np.array),
        st.builds(
            lambda start, step: range(start, start + step * length, step), st.integers(-99, 99), st.integers(1, 9)
        ),
        st.builds(lambda start, stop: linspace(start, stop, length), FLOATS, FLOATS),
        st.builds(lambda start, stop: logspace(start, stop, length), st.floats(-9, 9), st.floats(-9, 9)),
    )


DISTRIBUTIONS = st.one_of(
    st.just(uniform(-1, 2)), st.just(normal(5, 2)), st.just(loguniform(1e-3, 10)), st.just(choice("a", "b", "c"))
)


@st.composite
def spaces_named(draw: Any, names: tuple[str, ...], depth: int = 2) -> Space:
    """A random composition with exactly these names."""
    kinds = ["zip", "grid", "sample", "rows"] + (["concat", "product"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "concat":
        return draw(spaces_named(names, depth - 1)) + draw(spaces_named(names, depth - 1))
    if kind == "product" and len(names) > 1:
        return draw(spaces_named(names[:1], depth - 1)) * draw(spaces_named(names[1:], depth - 1))
    if kind == "sample":
        method = draw(st.sampled_from(["random", "lhs", "sobol"]))
        return sample(draw(st.integers(1, 9)), method, 7, **{name: draw(DISTRIBUTIONS) for name in names})
    length = draw(st.integers(1, 7))
    if kind == "grid":
        return grid(**{name: draw(axes_of(draw(st.integers(1, 4)))) for name in names})
    if kind == "rows":
        return rows([{name: draw(SCALARS) for name in names} for _ in range(length)])
    return zip_(**{name: draw(axes_of(length)) for name in names})


SPACES = st.sampled_from([("a",), ("a", "b"), ("a", "b", "c")]).flatmap(spaces_named)


def typed(values: Any) -> list[tuple[type, Any]]:
    return [(type(value), value) for value in values]


@settings(max_examples=300, deadline=None)
@given(SPACES, st.data())
def test_columns_items_rows_arrays_and_json_agree(space: Space, data: Any) -> None:
    start = data.draw(st.integers(0, len(space)))
    stop = data.draw(st.integers(start, len(space)))
    items = [space[index] for index in range(start, stop)]
    columns = space.columns(start, stop)
    assert list(columns) == list(space.names)
    for name, column in columns.items():
        assert typed(column) == typed(item[name] for item in items)
    if items:
        assert space.rows(start, stop) == items
    back = space_from_json(json.loads(json.dumps(space_to_json(space))), space.sources())
    assert back == space
    assert back.columns(start, stop).keys() == columns.keys()
    assert all(typed(back.columns(start, stop)[name]) == typed(columns[name]) for name in columns)


@settings(max_examples=300, deadline=None)
@given(SPACES, st.data())
def test_arrays_equal_items_for_any_indices(space: Space, data: Any) -> None:
    indices = data.draw(st.lists(st.integers(0, len(space) - 1), min_size=1, max_size=20))
    arrays = space.arrays(np.array(indices, dtype=np.int64))
    for name in space.names:
        assert arrays[name].dtype in (np.int64, np.float64, np.bool_, object)
        assert typed(arrays[name].tolist()) == typed(space[index][name] for index in indices)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.data())
def test_a_grid_is_nested_loops(sizes: list[int], data: Any) -> None:
    names = "abcd"[: len(sizes)]
    space = grid(**{name: list(range(size)) for name, size in zip(names, sizes, strict=True)})
    expected = list(itertools.product(*map(range, sizes)))
    start = data.draw(st.integers(0, len(expected)))
    stop = data.draw(st.integers(start, len(expected)))
    assert list(zip(*space.columns(start, stop).values(), strict=True)) == expected[start:stop]
    assert [tuple(item.values()) for item in space] == expected


def test_length_and_items_of_a_trillion_are_instant() -> None:
    space = grid(a=range(10**6), b=linspace(0, 1, 10**6))
    assert len(space) == 10**12
    assert space[-1] == {"a": 999_999, "b": 1.0}
    assert space[10**6 + 2]["a"] == 1
    assert len(space.columns(10**11, 10**11 + 1000)["b"]) == 1000


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_outside_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match="outside the space of 3"):
        grid(x=[1, 2, 3])[index]


def test_a_range_stays_a_range() -> None:
    assert grid(i=range(10**9)).columns(10, 20)["i"] == range(10, 20)
    assert isinstance((grid(i=range(5)) + grid(i=range(5))).columns(5, 8)["i"], range)


@pytest.mark.parametrize("count", [1, 2, 7, 1000, TABLE_SIZE + 1])
def test_linspace_and_logspace_are_numpys(count: int) -> None:
    assert list(linspace(0.1, 0.7, count).slice(0, count)) == np.linspace(0.1, 0.7, count).tolist()
    logs = logspace(-3, 2, count)
    np.testing.assert_allclose(logs.slice(0, count), np.logspace(-3, 2, count), rtol=1e-15)
    assert logs.array(np.arange(count)).tolist() == list(logs.slice(0, count))


def test_long_lists_with_a_formula_travel_as_the_formula() -> None:
    assert make_axis(list(range(5, 5 + 3 * COMPRESS_FROM, 3)), "x") == Range(5, 5 + 3 * COMPRESS_FROM, 3)
    assert make_axis(np.linspace(0, 1, COMPRESS_FROM), "x") == Linspace(0.0, 1.0, COMPRESS_FROM)
    assert isinstance(make_axis([*range(COMPRESS_FROM), 0], "x"), Values)


def test_longer_lists_than_may_travel_go_with_the_tasks() -> None:
    values = [index * index for index in range(TRAVEL_LIMIT + 1)]
    space = grid(x=values) * grid(y=[1, 2])
    assert not space.computable
    assert len(json.dumps(space_to_json(space))) < 1000
    assert space.rows(4, 6) == [{"x": 4, "y": 1}, {"x": 4, "y": 2}]


def test_heavy_values_go_with_the_tasks_too() -> None:
    assert grid(x=[np.zeros(10), np.zeros(20)]).computable
    assert not grid(x=[np.zeros(100_000), np.zeros(100_000)]).computable
    assert not grid(x=["a" * 600_000, "b" * 600_000]).computable


def test_values_become_plain_python() -> None:
    space = zip_(
        a=np.array([1, 2], dtype=np.int32), b=[np.float32(0.5), 2], c=(True, np.bool_(False)), d=[(1, 2), {"k": 1}]
    )
    assert typed(space[0].values()) == typed([1, 0.5, True, (1, 2)])
    assert typed(space[1].values()) == typed([2, 2.0, False, {"k": 1}])


def test_absent_rows_know_their_shape_and_say_what_to_do() -> None:
    space = space_from_json(space_to_json(rows([{"x": 1}, {"x": 2}]) * grid(y=[1, 2, 3])))
    assert (len(space), space.names, space.computable) == (6, ("x", "y"), False)
    with pytest.raises(SpaceError, match="take them from the tasks"):
        space[0]


def test_equal_rows_have_equal_fingerprints() -> None:
    assert rows([{"x": 1}]) == rows({"x": value} for value in [1])
    assert rows([{"x": 1}]) != rows([{"x": 2}])


def test_rows_of_a_data_frame() -> None:
    import pandas as pd

    assert list(rows(pd.DataFrame({"x": [1, 2], "s": ["a", "b"]}))) == [{"x": 1, "s": "a"}, {"x": 2, "s": "b"}]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: grid(), "no parameters"),
        (lambda: grid(x=[]), "axis 'x' has no values"),
        (lambda: zip_(a=[1, 2], b=[1, 2, 3]), "a has 2, b has 3"),
        (lambda: grid(x=range(0)), "is empty"),
        (lambda: range_(0, 5, 0), "step must not be 0"),
        (lambda: range_(0, 5, -1), "expected a stop below the start"),
        (lambda: range_(0.5), "whole number, got 0.5; for fractions use linspace"),
        (lambda: range_(), "got 0 numbers"),
        (lambda: range_(2**70), "64 bits"),
        (lambda: linspace(0, 1, 0), "count must be at least 1"),
        (lambda: linspace(0, float("nan"), 3), "finite"),
        (lambda: linspace(-1e308, 1e308, 3), "finite"),
        (lambda: linspace("a", 1, 3), "expected a number, got 'a'"),
        (lambda: logspace(0, 400, 3), "exponents of 10"),
        (lambda: uniform(1, 1), "low < high"),
        (lambda: loguniform(0, 1), "0 < low < high"),
        (lambda: normal(0, 0), "above 0"),
        (lambda: grid(x=[np.ma.array([1, 2], mask=[0, 1])]), "would lose its mask"),
        (lambda: grid(x=[np.array([object()])]), "an array of object cannot travel"),
        (lambda: grid(x=[NamedPair(1, 2)]), r"a kind of tuple, and would arrive as one: pass tuple\(…\)"),
        (lambda: grid(x=[Flags.A | Flags.B]), "no single member of Flags"),
        (lambda: grid(x=[{1: 2}]), "needs text keys"),
        (lambda: grid(x=[{"\udcff": 2}]), "needs text keys, in Unicode"),
        (lambda: grid(x=[np.timedelta64(1, "M")]), "give it in weeks or a shorter unit"),
        (lambda: grid(x=["a" * (9 << 20)]), "a value of 9 MiB is too large to travel"),
        (lambda: rows([{"x": np.zeros(2 << 20)}]), "a value of 16 MiB is too large to travel"),
        (lambda: grid(x=[nested(5000)]), "at most 32 levels"),
        (lambda: grid(x=[nested(DEEPEST + 1)]), "at most 32 levels"),
        (lambda: rows([{"x": {"t": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}}]), "9999 in UTC"),
        (lambda: grid(x=[2**63]), "does not fit 64 bits"),
        (lambda: grid(x=[object()]), "expected numbers, text"),
        (lambda: grid(x={1, 2}), "a set has no order"),
        (lambda: grid(x=np.zeros((2, 2))), "one dimension"),
        (lambda: grid(x=uniform(0, 1)), "sample\\(n, x="),
        (lambda: grid(x=[1]) * grid(x=[2]), "given twice"),
        (lambda: grid(x=[1]) + grid(y=[2]), "same names"),
        (lambda: grid(**{"my x": [1]}), "cannot be a parameter name"),
        (lambda: grid(a=range(2**40), b=range(2**40)), "more than"),
        (lambda: sample(0, x=uniform(0, 1)), "at least 1"),
        (lambda: sample(3, "halton", x=uniform(0, 1)), "unknown sampling method 'halton'"),
        (lambda: sample(2**33, "sobol", x=uniform(0, 1)), "at most"),
        (lambda: sample(8, "sobol", **{f"x{i}": uniform(0, 1) for i in range(22)}), "at most 21"),
        (lambda: rows([]), "no rows"),
        (lambda: rows([{"x": 1}, {"y": 1}]), "row 1: expected a dict with the keys x"),
        (lambda: rows([(1, 2)]), "row 0: expected a dict"),  # type: ignore[list-item]
        (lambda: space_from_json({"space": "cube"}), "expected the JSON form"),
        (lambda: space_from_json({"space": "zip", "axes": {}, "more": 1}), "unknown field"),
        (lambda: space_from_json({"space": "product", "factors": []}), "empty product"),
        (lambda: space_from_json({"space": "zip", "axes": {"x": {"axis": "linspace", "start": "0"}}}), r"\$\.axes"),
    ],
)
def test_errors_say_what_was_expected_in_one_line(make: Any, words: str) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_importing_spaces_and_targets_is_light() -> None:
    heavy = "[name for name in ('numpy', 'scipy', 'pyarrow') if name in sys.modules]"
    code = f"import sys, ttg.space, ttg.seeds, ttg.function; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
