"""What becomes of return values: one column per field, nothing lost without a word."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
from copy import copy
from decimal import Decimal
from pathlib import PurePath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg.errors import MessageError
from ttg.results.encode import Unencodable, columns_of, decode_payload, encode_rows, stream
from ttg.results.kinds import is_text, type_of_field
from ttg.results.plain import Numbers
from ttg.results.values import values_of


class Way(enum.Enum):
    NORTH = 1


class Pair(NamedTuple):
    a: int
    b: float


@dataclasses.dataclass
class Reading:
    value: float
    unit: str = "m"


def encoded(values: list[Any]) -> pa.RecordBatch:
    return decode_payload(encode_rows(values))


def column(values: list[Any], name: str = "result") -> list[Any]:
    """The values as they come back."""
    batch = encoded(values)
    return values_of(batch.column(name), type_of_field(batch.schema.field(name)))


def is_stored_as_text(values: list[Any]) -> bool:
    return is_text(type_of_field(encoded(values).schema.field("result")))


def test_a_value_that_no_cell_holds_is_refused_with_what_to_do() -> None:
    """Arrow and Parquet say "out of bounds" or "Lz4 compression failure", some of them after minutes."""
    large = np.zeros(2_000_000_008, np.uint8)  # memory that nobody touches is none
    for values in ([np.zeros(3), large], [{"a": 1}, {"a": large}], [large.reshape(2, 2, -1)]):
        with pytest.raises(Unencodable) as caught:
            encode_rows(values)
        assert [place for place, _ in caught.value.failures] == [len(values) - 1]
        assert "at most 2 GB" in (text := caught.value.failures[0][1])
        assert "return it as several fields, or write it to a file" in text


def test_a_list_for_which_parquet_needs_many_times_its_size_is_refused_with_what_to_do() -> None:
    """1.5 GB of bytes took a coordinator 21 GB: 18 bytes an item."""
    long = np.zeros((1 << 27) + 1, np.uint8)
    for values in ([np.zeros(3), long], [{"a": [1]}, {"a": long}]):
        with pytest.raises(Unencodable) as caught:
            encode_rows(values)
        [(place, text)] = caught.value.failures
        assert place == 1
        assert "at most 134,217,728 items, got 134,217,729: return array[None, :]" in text


UTC = datetime.UTC
MOMENT = datetime.datetime(2024, 5, 17, 12, 30, tzinfo=UTC)
EAST = datetime.timezone(datetime.timedelta(hours=3))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], pa.null()),
        ([None, None], pa.null()),
        ([1.5, float("inf")], pa.float64()),
        ([1, 2**63 - 1], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([True, None], pa.bool_()),
        (["a", "ä", None], pa.string()),
        ([b"a", b"\xff"], pa.binary()),
        ([np.float32(1.5), 2.5], pa.float64()),
        ([np.int8(1), 2], pa.int64()),
        ([np.bool_(True), False], pa.bool_()),
        ([np.longdouble(1.5)], pa.float64()),
        ([[1, 2], [], None], pa.list_(pa.int64())),
        ([(1, 2.5)], pa.list_(pa.float64())),
        ([datetime.date(2024, 5, 17)], pa.date32()),
        ([datetime.timedelta(seconds=1)], pa.duration("us")),
        ([MOMENT], pa.timestamp("us", "UTC")),
        ([MOMENT.astimezone(EAST)], pa.timestamp("us", "UTC")),
        ([MOMENT.replace(tzinfo=None)], pa.timestamp("us")),
        ([Decimal("1.10"), Decimal("20.125")], pa.decimal128(38, 3)),
    ],
    ids=str,
)
def test_values_of_one_kind_keep_it(values: list[Any], kind: pa.DataType) -> None:
    batch = encoded(values)
    assert batch.schema.field("result").type == kind
    assert not is_stored_as_text(values)
    assert batch.column("result").to_pylist() == [tuple_to_list(value) for value in values]


def tuple_to_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, "a"], ["1", "a"]),
        ([True, 1], ["true", "1"]),
        ([1.0, True], ["1.0", "true"]),
        (["sqrt", None, 1.5, [1]], ["sqrt", None, "1.5", "[1]"]),
        (["0.5", 0.5, "{", '"q"', " 1", "NaN"], ['"0.5"', "0.5", "{", '"\\"q\\""', '" 1"', '"NaN"']),
        ([-1, 2**63], ["-1", "9223372036854775808"]),
        ([2**64], ["18446744073709551616"]),
        ([0.5, 2**60 + 1, 2], ["0.5", "1152921504606846977", "2.0"]),
        ([[1], 2], ["[1]", "2"]),
        (["ok", "\ud800"], ["ok", '"\\ud800"']),
        ([1, {"b": 1}, {"a": 2.5}], ["1", '{"a": null, "b": 1}', '{"a": 2.5, "b": null}']),
        ([{}, 1], None),
        ([datetime.date(2024, 5, 17), 1], ['{"$date": "2024-05-17"}', "1"]),
        ([b"\xff", 1], ['{"$bytes": "/w=="}', "1"]),
        ([Decimal("1.10"), 1], ['{"$decimal": "1.1"}', "1"]),
        ([datetime.timedelta(microseconds=1), 1], ['{"$timedelta": "0.000001"}', "1"]),
        ([np.timedelta64(1500, "ns"), 1], ['{"$timedelta": "0.000001500"}', "1"]),
        ([MOMENT, MOMENT.replace(tzinfo=None)], None),
        ([MOMENT, MOMENT.date()], None),
        ([datetime.datetime(1600, 1, 1), np.datetime64(1, "ns")], None),
        ([datetime.time(12, tzinfo=EAST)], ['{"$time": "12:00:00+03:00"}']),
        ([datetime.time(12, tzinfo=ZoneInfo("Europe/Berlin"))], ['{"$time": ["12:00:00", "Europe/Berlin", 0]}']),
        ([Decimal("1E+30"), Decimal("1E-20")], ['{"$decimal": "1E+30"}', '{"$decimal": "1E-20"}']),
        ([1j, {"$date": 1}, {"$complex": [1]}], None),
        ([datetime.timedelta.max], None),
    ],
    ids=repr,
)
def test_values_without_a_common_type_become_text_and_nothing_is_lost(values: list[Any], texts: Any) -> None:
    assert is_stored_as_text([[value] for value in values]) is False
    found = column([[value] for value in values])
    expected = [[value] for value in values]
    if all(not isinstance(value, dict) for value in values):
        assert is_stored_as_text(values)
        assert texts is None or encoded(values).column("result").to_pylist() == texts
        assert list(map(type, column(values))) == list(map(type, values)) or 0.5 in values
    assert [[united(value) for value in row] for row in found] == [[united(value) for value in row] for row in expected]


def united(value: Any) -> Any:
    """Fields that a dict has not are null."""
    return {name: inner for name, inner in value.items() if inner is not None} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([2**63], [2**63]),
        ([[1, "a"]], [[1, "a"]]),
        ([np.array([1, "x"], dtype=object)], [[1, "x"]]),
        ([{"a": {}}, {"a": {}}], [{}, {}]),
        ([{"a": {}}, {"a": {"b": 1}}], [{"b": None}, {"b": 1}]),
        ([np.datetime64(1500, "ns"), np.datetime64(1, "s")], [np.datetime64(1500, "ns"), np.datetime64(10**9, "ns")]),
        ([np.datetime64("2024-05-17")], [datetime.datetime(2024, 5, 17)]),
        ([np.datetime64("NaT"), np.ma.masked, 1], [None, None, 1]),
        ([PurePath("a/b"), "c"], ["a/b", "c"]),
        ([Way.NORTH], ["NORTH"]),
        ([np.array(3.0), 2], [3.0, 2.0]),
    ],
    ids=repr,
)
def test_values_of_one_kind_in_other_clothes(values: list[Any], found: list[Any]) -> None:
    assert column(values, "a" if isinstance(values[0], dict) else "result") == found


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ([{"a": 1, "b": "x"}], [{"a": 1, "b": "x"}]),
        ([Pair(1, 2.0), None], [{"a": 1, "b": 2.0}, {"a": None, "b": None}]),
        ([Reading(1.0)], [{"value": 1.0, "unit": "m"}]),
        ([{"b": 1}, {"a": 2}], [{"a": None, "b": 1}, {"a": 2, "b": None}]),
        ([{"a": 1}, 7], [{"a": 1, "result": None}, {"a": None, "result": 7}]),
        ([{"p": Reading(2.0)}], [{"p": {"value": 2.0, "unit": "m"}}]),
        ([{"__seconds": 1}], [{"result___seconds": 1}]),
    ],
    ids=repr,
)
def test_records_become_columns(values: list[Any], rows: list[dict[str, Any]]) -> None:
    assert encoded(values).to_pylist() == rows


@pytest.mark.parametrize("nothing", [None, pandas.NA, pandas.NaT, np.ma.masked, {"result": None}, {}], ids=repr)
def test_what_is_nothing_has_no_column(nothing: Any) -> None:
    assert encoded([nothing, {"b": 1, "a": 2}]).schema.names == ["b", "a"]


def test_fields_keep_their_order_unless_rows_differ() -> None:
    assert encoded([{"b": 1, "a": 2}] * 2).schema.names == ["b", "a"]
    assert encoded([{"b": 1, "a": 2}, {"b": 3}]).schema.names == ["a", "b"]


def test_arrays_and_complex_numbers() -> None:
    for array in (np.array([1.5]), np.arange(4).reshape(2, 2), np.ones((1, 2, 3), "c8"), np.empty((2, 0), "m8[ns]")):
        (found,) = column([array])
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
    assert column([1 + 2j, None]) == [1 + 2j, None]
    assert encoded([1 + 2j]).column("result").to_pylist() == [{"real": 1.0, "imag": 2.0}]


def test_a_masked_array_keeps_its_mask() -> None:
    (found,) = column([np.ma.masked_array([[1, 2], [3, -9999]], [[False, False], [False, True]])])
    assert encoded([np.ma.masked_array([1.0, -9999.0], [False, True])]).column("result").to_pylist() == [[1.0, None]]
    assert found.tolist() == [[1, 2], [3, None]]
    assert found.dtype == np.int64


def test_every_culprit_is_named() -> None:
    with pytest.raises(Unencodable) as caught:
        encode_rows([1.0, object(), 2.0, {1, 2}])
    assert [position for position, _ in caught.value.failures] == [1, 3]
    assert "expected numbers" in str(caught.value)


@pytest.mark.parametrize(
    "culprit",
    [object(), {3: 1}, {"a": {3: 1}}, {"\ud800": 1}, [object()], {"a": object()}, lambda: 1, (x for x in "a")],
    ids=range(8),
)
def test_the_neighbours_of_a_culprit_can_be_encoded(culprit: Any) -> None:
    values = [{"a": 1}, culprit, {"a": 2}]
    with pytest.raises(Unencodable) as caught:
        encode_rows(values)
    assert [position for position, _ in caught.value.failures] == [1]
    del values[1]
    assert column(values, "a") == [1, 2]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.void(b"abc"), r"bytes\(value\)"),
        (np.zeros((1, 2)).view(np.matrix), "np.asarray"),
        (datetime.datetime.max.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-1))), "9999 in UTC"),
        ([datetime.datetime.min.replace(tzinfo=EAST)], "years 1 to 9999"),
    ],
    ids=str,
)
def test_what_could_not_be_read_back_is_refused(value: Any, words: str) -> None:
    with pytest.raises(Unencodable, match=words):
        encode_rows([value])


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1)], ids=str)
def test_masked_times_stand_beside_anything(shape: tuple[int, ...]) -> None:
    times = np.ma.masked_array(np.array(["2024-01-02", "2024-01-03"], "M8[D]"), [False, True]).reshape(shape)
    found, one = column([times, 1])
    assert one == 1
    assert np.array(found, object).ravel().tolist() == [datetime.datetime(2024, 1, 2), None]


@pytest.mark.parametrize("value", [np.timedelta64(3, "ps"), np.timedelta64(1 << 60, "D"), np.datetime64(7, "as")])
def test_times_that_no_column_of_times_holds_are_exact(value: Any) -> None:
    assert column([value]) == [value]
    assert column([[value, "x"]]) == [[value, "x"]]


def test_a_circular_value_is_a_culprit() -> None:
    circle: list[Any] = []
    circle.extend([circle] * 3)
    with pytest.raises(Unencodable):
        encode_rows([circle])


def test_tables_of_pandas_are_refused_with_what_to_do() -> None:
    with pytest.raises(Unencodable, match="to_dict"):
        encode_rows([pandas.DataFrame({"a": [1]})])
    with pytest.raises(Unencodable, match="to_numpy"):
        encode_rows([pandas.Series([1])])
    with pytest.raises(Unencodable, match="DateOffset"):
        encode_rows([{"a": {"b": pandas.DateOffset(months=1)}}])


def test_seconds_and_parameters_travel_beside() -> None:
    batch = decode_payload(encode_rows([1, 2], [0.5, 0.25], {"x": ["a", "b"], "y": [1, 2.5]}))
    assert batch.schema.names == ["result", "__seconds", "__param_x", "__param_y"]
    assert batch.column("__seconds").to_pylist() == [0.5, 0.25]
    assert batch.column("__param_y").to_pylist() == [1.0, 2.5]


def test_whole_columns() -> None:
    batch = decode_payload(stream(columns_of({"y": np.arange(3) / 2, "label": ["a", "b", "c"]}), None, None))
    assert batch.to_pydict() == {"y": [0.0, 0.5, 1.0], "label": ["a", "b", "c"]}


@pytest.mark.parametrize("payload", [b"", b"garbage", encode_rows([1, 2])[:100]], ids=len)
def test_a_broken_payload_is_a_message_error(payload: bytes) -> None:
    with pytest.raises(MessageError, match="Arrow"):
        decode_payload(payload)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(st.lists(plain, max_size=8))
def test_any_plain_values_come_back_equal(values: list[Any]) -> None:
    assert column(values) == values


@given(
    st.one_of(
        st.lists(st.floats(), min_size=1),
        st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1),
    ),
    st.booleans(),
)
def test_plain_numbers_are_written_as_arrow_writes_them(values: list[Any], timed: bool) -> None:
    seconds = [0.25] * len(values) if timed else None
    numbers = Numbers()
    assert numbers.take(values[:3])
    assert len(values) <= 3 or numbers.take(values[3:])
    assert repr(copy(numbers).give_back()) == repr(values)
    payload = numbers.payload(seconds)
    if timed or type(values[0]) is int:
        assert payload == encode_rows(values, seconds)
    assert repr(decode_payload(payload).to_pydict()) == repr(decode_payload(encode_rows(values, seconds)).to_pydict())


@pytest.mark.parametrize("count", [1, 15, 16, 0xCB, (1 << 16) - 1, 1 << 16])
def test_floats_are_one_array_of_messagepack(count: int) -> None:
    values = [math.nan, *map(float, range(1, count))]
    numbers = Numbers()
    assert numbers.take(values)
    payload = numbers.payload()
    assert repr(msgspec.msgpack.decode(payload)) == repr(values)
    batch = decode_payload(payload)
    assert batch.schema == decode_payload(encode_rows(values)).schema
    assert repr(batch.column(0).to_pylist()) == repr(values)
    for damaged in (payload[:-1], payload + b"0", payload[:3]):
        with pytest.raises(MessageError, match="one Arrow record batch"):
            decode_payload(damaged)


class Ratio(float, enum.Enum):
    HALF = 0.5


class Count(enum.IntEnum):
    TWO = 2


class Half(enum.Enum):
    ONLY = 0.5

    def __float__(self) -> float:
        return 0.5


_OTHERS = (2, True, None, "1", np.float64(1), Ratio.HALF, Half.ONLY, 1 << 2000, [0.5])
_NOT_INTS = (2.0, True, None, "1", np.int64(1), Count.TWO, 1 << 63, [2])


@pytest.mark.parametrize(
    "values",
    [[], [True], [np.float64(1)], *([1.0, other] for other in _OTHERS), *([1, other] for other in _NOT_INTS)],
)
def test_everything_else_is_left_to_arrow(values: list[Any]) -> None:
    numbers = Numbers()
    assert not numbers.take(values)
    assert numbers.count == 0


def test_floats_and_ints_do_not_share_a_column() -> None:
    numbers = Numbers()
    assert numbers.take([1, 2])
    assert not numbers.take([1.0])
    assert numbers.give_back() == [1, 2]
