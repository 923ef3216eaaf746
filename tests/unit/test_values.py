"""Whatever a function returns: in the table it is what was returned, however the rows were cut into chunks."""

from __future__ import annotations

import datetime
import decimal
import functools
import itertools
import math
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_values
from results_fakes import Run, spec_of

from ttg.brokers.base import ResultMessage
from ttg.messages import DeadLetter, ResultHeader, Task
from ttg.results import reading
from ttg.results.encode import _field_name
from ttg.results.kinds import NULL, List, Record, Scalar, Type, join, mixed_part, type_of_field
from ttg.results.schema import result_column
from ttg.worker.execution import Execution
from ttg.worker.loading import Pace
from ttg.worker.surroundings import Surroundings

# ---------------------------------------------------------------------------------------------- the lattice

NAMES = """
    null bool int8 int64 uint8 uint64 bigint float32 float64 number complex64 complex128 text text:wide bytes date time
    decimal:0 decimal:3 decimal:wide datetime:us datetime:ns datetime:wide utc:us utc:ns timedelta:us timedelta:ns
"""


def _records(inner: Any) -> Any:
    fields = st.lists(st.tuples(st.sampled_from("abc"), inner), unique_by=lambda field: field[0], max_size=3)
    return fields.map(lambda found: Record(tuple(found)))


leaves = st.sampled_from(NAMES.split()).map(Scalar)
kinds = st.recursive(leaves, lambda inner: st.builds(List, inner, st.booleans()) | _records(inner), max_leaves=5)
any_kinds = st.lists(kinds, min_size=1, max_size=4).map(lambda found: functools.reduce(join, found))


@given(any_kinds, any_kinds, any_kinds)
def test_types_are_a_lattice(a: Type, b: Type, c: Type) -> None:
    assert join(a, a) == a
    assert join(a, NULL) == join(NULL, a) == a
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, join(a, b)) == join(a, b)


# ---------------------------------------------------------------------------------------------- any values at all

EAST = datetime.timezone(datetime.timedelta(hours=3))
moments = st.datetimes() | st.datetimes(
    timezones=st.sampled_from([datetime.UTC, EAST]),
)
numpy_stamps = st.builds(
    lambda count, unit, code: np.array(count).astype(f"{code}8[{unit}]")[()],
    st.integers(-(10**10), 10**10),
    st.sampled_from(["ps", "ns", "us", "s"]),
    st.sampled_from("Mm"),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.floats(width=32).map(np.float32),
    st.integers(-100, 100).map(np.int8),
    st.integers(0, 2**64 - 1).map(np.uint64),
    st.complex_numbers(),
    st.text(max_size=5),
    st.sampled_from(["1", "nan", "NaN", '"a"', "[1]", "{", " 2", "\udcff", "true", "2024-05-17"]),
    st.binary(max_size=3),
    st.decimals(),
    st.dates(),
    st.times(),
    moments,
    st.timedeltas(),
    numpy_stamps,
)
dtypes = st.sampled_from(["f8", "f4", "i8", "u1", "u8", "c16", "?", "M8[ns]", "M8[s]", "m8[ns]", "U2", "f2", ">f8"])
arrays = dtypes.flatmap(
    lambda dtype: numpy_values.arrays(dtype, numpy_values.array_shapes(max_dims=3, max_side=2, min_side=1))
)
masked = st.builds(
    lambda array, seed: np.ma.masked_array(array, np.random.default_rng(seed).random(array.shape) < 0.5),
    arrays.filter(lambda array: array.dtype.kind in "fiu"),
    st.integers(0, 9),
)
field_names = st.sampled_from(["a", "b", "a.b", "A", "$date", "$x", "", "index", "result", "result_index", "__seconds"])


def _containers(inner: Any) -> Any:
    lists = st.lists(inner, max_size=3)
    return lists | lists.map(tuple) | st.dictionaries(field_names, inner, max_size=3)


values = st.recursive(scalars | arrays | masked, _containers, max_leaves=6)
groups = st.lists(values, min_size=1, max_size=3).flatmap(
    lambda some: st.lists(st.sampled_from(some), min_size=1, max_size=4)
)
columns = st.lists(values, min_size=1, max_size=6) | groups


class Returned:
    """A function that returns these values, as the child calls it."""

    def __init__(self, returned: Sequence[Any], vectorized: bool) -> None:
        self.spec = spec_of(len(returned))
        self.pace = Pace()
        self.surroundings = Surroundings()
        self.one_by_one = False
        self.function = self._columns if vectorized else returned.__getitem__
        self._returned = returned

    def _columns(self, indices: Sequence[int]) -> dict[str, Any]:
        return {"v": [self._returned[index]["v"] for index in indices]}

    workdirs = None
    prints_by_python = False

    def columns_of(self, task: Task, start: int, stop: int) -> Sequence[Any]:
        return [range(start, stop)]

    parameters_of = columns_of


orders = st.integers(0, 99).map(random.Random)


def table_of(returned: Sequence[Any], cuts: Sequence[int], order: Any, flushes: bool, vectorized: bool = False) -> Any:
    """Rows and dead letters by index, and the types of the columns: by the child's encoder, the collector, a reader."""
    with tempfile.TemporaryDirectory() as path:
        run = Run(Path(path) / "r", len(returned))
        chunks = list(itertools.pairwise([0, *cuts, len(returned)]))
        order.shuffle(chunks)
        for chunk in chunks:
            rest = (chunk,)
            while rest:
                rest = _executed(run, Task("r1", "t", rest), returned, vectorized)
            if flushes:
                run.flush()
        if not flushes:
            run.flush()
        run.collector.finalise()
        assert run.collector.ledger.complete
        dead = {letter["index"] for letter in reading.dead_letters(run.folder)}
        chosen = reading.select(run.folder)
        found = {row["index"]: row for row in reading.rows(run.folder)}
        return found, dead, {field.name: type_of_field(field) for field in chosen.schema}


def _executed(run: Run, task: Task, returned: Sequence[Any], vectorized: bool) -> Any:
    execution = Execution(task, Returned(returned, vectorized), vectorized)
    execution.run(60.0, lambda *_: None, lambda: False)
    report, payload = execution.report(1)
    letters = tuple(
        DeadLetter("r1", "m:f", failure.index, {}, 1, failure, "w1", 1.0)
        for failure in report.failures
        if failure.final
    )
    assert len(letters) == len(report.failures)
    header = ResultHeader(
        run="r1", task="t", ranges=report.done, attempt=1, worker="w1", slot=0, started=0.0, seconds=1.0, dead=letters
    )
    run.collector.add(ResultMessage("1", header, payload))
    return report.remaining


def fields_of(value: Any) -> dict[str, Any]:
    """The columns of a value, as documented."""
    fields = value if isinstance(value, dict) else {"result": value}
    return {result_column(_field_name(name), ("x", "y")): inner for name, inner in fields.items()}


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same kind, but for what docs/results.md says: lists for tuples and for arrays beside lists,
    null for missing fields, masked items and NaT, floats for integers beside floats, one way to write a time."""
    a, b = map(_plain, (a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return all(same(a.get(name), b.get(name)) for name in a | b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, complex) and isinstance(b, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, bool) or isinstance(b, bool) or isinstance(a, str) or a is None or b is None:
        return type(a) is type(b) and a == b
    if _is_nan(a) or _is_nan(b):
        return type(a) is type(b) and _is_nan(a) and _is_nan(b)
    return bool(a == b) and isinstance(a, int | float) == isinstance(b, int | float)


def _is_nan(value: Any) -> bool:
    return value.is_nan() if isinstance(value, decimal.Decimal) else isinstance(value, float) and math.isnan(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ma.MaskedArray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.ndarray) and value.dtype.kind in "mM":
        return [_plain(item) for item in value]
    if isinstance(value, np.datetime64 | np.timedelta64):
        exact = decimal.Decimal(int(value.astype(np.int64)))
        scale = {"ps": -12, "ns": -9, "us": -6, "s": 0}[np.datetime_data(value.dtype)[0]]
        return None if np.isnat(value) else ("stamp", type(value).__name__[0], exact.scaleb(scale))
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        return ("stamp", "d", _seconds(value - datetime.datetime(1970, 1, 1)))
    if isinstance(value, datetime.timedelta):
        return ("stamp", "t", _seconds(value))
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, tuple) and not (value and isinstance(value[0], str) and value[0] == "stamp"):
        return list(value)
    return value.item() if isinstance(value, np.generic) else value


def _seconds(value: datetime.timedelta) -> decimal.Decimal:
    return decimal.Decimal(value // datetime.timedelta(microseconds=1)).scaleb(-6)


PHASES = tuple(phase for phase in Phase if phase is not Phase.shrink)  # which would take longer than the suite
cut_twice = st.lists(st.integers(1, 5), max_size=3, unique=True).map(sorted)


@settings(deadline=None, max_examples=40, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(columns, cut_twice, cut_twice, orders, st.booleans())
def test_the_table_is_what_was_returned(returned: Any, cuts: Any, others: Any, order: Any, flushes: bool) -> None:
    ways = [(cuts, False), (others, flushes)]
    (rows, dead, kinds), (rows2, dead2, kinds2) = [
        table_of(returned, [cut for cut in way if cut < len(returned)], order, some) for way, some in ways
    ]
    assert dead == dead2
    assert set(rows) == set(rows2) == set(range(len(returned))) - dead
    for index, row in rows.items():
        wanted, other = fields_of(returned[index]), rows2[index]
        for name in wanted.keys() | (kinds.keys() - {"index", "x", "y", "seconds", "attempt", "worker"}):
            assert same(row.get(name), wanted.get(name)), (name, row, wanted)
            assert same(row.get(name), other.get(name)), (name, row, other)
    assert kinds == kinds2 or not rows or not _alike(kinds, kinds2)
    assert list(kinds) == list(kinds2) or not rows


def _alike(a: dict[str, Type], b: dict[str, Type]) -> bool:
    """Whether the types must be equal: the branches of mixed ones may differ in what never came."""
    return not any(map(mixed_part, (*a.values(), *b.values())))


@settings(deadline=None, max_examples=40, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(columns, cut_twice, orders)
def test_vectorised_functions_agree_with_scalar_ones(returned: Any, cuts: Any, order: Any) -> None:
    wrapped = [{"v": value} for value in returned]
    cuts = [cut for cut in cuts if cut < len(returned)]
    (rows, dead, kinds), (rows2, dead2, kinds2) = [
        table_of(wrapped, cuts, order, False, vectorized) for vectorized in (False, True)
    ]
    assert dead == dead2
    assert kinds == kinds2 or not _alike(kinds, kinds2)
    assert all(same(row.get("v"), rows2[index].get("v")) for index, row in rows.items())


class Unruly(Mapping[str, Any]):
    """A value whose own methods raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __iter__(self) -> Iterator[str]:
        return iter("a")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_value_that_cannot_be_looked_at_is_a_dead_letter_and_not_the_end_of_its_process(vectorized: bool) -> None:
    around: list[Any] = [1]
    around.append(around)
    within: dict[str, Any] = {}
    within["d"] = within
    returned = [{"v": value} for value in (around, within, Unruly(), {"m": Unruly()}, object(), 1)]
    for wrapped in (returned, [row["v"] for row in returned]):
        rows, dead, _ = table_of(wrapped, [2], random.Random(1), False, vectorized and wrapped is returned)
        assert dead == {0, 1, 2, 3, 4}
        assert list(rows) == [5]


def test_nan_is_not_null() -> None:
    assert not same(None, math.nan)
    assert same(math.nan, math.nan)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u8", "c8", "M8[ns]", "?"])
def test_columns_of_arrays_agree_with_their_items(dtype: str) -> None:
    column = np.arange(4).astype(dtype)
    (one, _, kind), (other, _, kind2) = [
        table_of([{"v": item} for item in items], [2], random.Random(1), False, True)
        for items in (list(column), column)
    ]
    assert kind == kind2
    assert [row["v"] for row in one.values()] == [
        row["v"] for row in other.values()
    ] == column.tolist() or dtype == "M8[ns]"
