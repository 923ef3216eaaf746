"""What a parameter may be, and how it travels: the same value and the same type come out."""

from __future__ import annotations

import datetime as dt
import enum
import json
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ttg.errors import FunctionError, MessageError
from ttg.function.members import loaded_member
from ttg.messages.parameters import EnumMember, decoded, encoded, encoded_values, enums_in, fresh, storable
from ttg.results import build
from ttg.space import grid, rows, space_from_json, space_to_json
from ttg.space.codec import enums_of, mutable_names
from ttg.space.values import DEEPEST, plain


class Colour(enum.Enum):
    RED = "r"
    BLUE = dt.date(2024, 1, 2)


class Level(enum.IntEnum):
    LOW = 1


ZONES = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=-30)), ZoneInfo("Europe/Berlin")])
MOMENTS = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=ZONES)  # in these years in UTC, too
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
FILE_NAMES = st.binary(min_size=1, max_size=6).filter(lambda name: b"\0" not in name).map(os.fsdecode)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.complex_numbers(),
    ANY_TEXT,
    st.binary(max_size=9),
    st.dates(),
    MOMENTS,
    MOMENTS.map(lambda moment: moment.replace(fold=1)),
    st.times(),
    st.times().map(lambda time: time.replace(tzinfo=dt.UTC)),
    st.timedeltas(),
    st.decimals(),
    FILE_NAMES.map(Path),
    st.sampled_from([*Colour, *Level]),
    arrays.datetime64_dtypes(min_period="ns", max_period="D").flatmap(arrays.from_dtype),
    arrays.timedelta64_dtypes(min_period="ns", max_period="D").flatmap(arrays.from_dtype),
)
ARRAYS = arrays.arrays(
    st.one_of(
        arrays.scalar_dtypes(), arrays.unicode_string_dtypes(max_len=4), arrays.byte_string_dtypes(max_len=4)
    ).filter(lambda dtype: dtype.char not in "gG" and dtype.str[1:] not in ("m8[Y]", "m8[M]", "m8")),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
KEYS = st.one_of(st.text(max_size=8), st.sampled_from(["$date", "$tuple", "$dict", "$text", "$none"]))
VALUES = st.recursive(
    st.one_of(SCALARS, ARRAYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=6,
)


def facts(value: Any) -> Any:
    """What must not change, comparable: the type, and the value with every NaN equal."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, [facts(item) for item in value]
    if kind is dict:
        return kind, [(key, facts(item)) for key, item in value.items()]
    if kind is np.ndarray:
        return kind, value.dtype, value.shape, value.tobytes()
    if isinstance(value, np.generic):
        return kind, value.dtype, value.tobytes()
    if isinstance(value, dt.datetime | dt.time):
        return kind, value.isoformat(), value.fold, type(value.tzinfo), str(value.tzinfo)
    return kind, value if isinstance(value, enum.Enum) else repr(value)


@settings(max_examples=600, deadline=None)
@example({"$date": "2024-01-02"})
@example([{"$dict": [[1, 2]]}, {"a": float("nan")}])
@given(VALUES)
def test_any_parameter_comes_out_as_it_went_in(value: Any) -> None:
    given = plain(value, "here")
    assert facts(given) == facts(value)
    travelled = msgspec.json.decode(msgspec.json.encode(encoded(given)))
    assert json.loads(json.dumps(travelled)) == travelled
    assert facts(decoded(travelled, loaded_member)) == facts(value)
    elsewhere = decoded(travelled)  # where the enumerations are not loaded: it goes on as it came
    assert encoded(elsewhere) == travelled
    assert facts(fresh(given)) == facts(value)


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_spaces_of_any_values(values: list[Any]) -> None:
    def seen(space: Any) -> list[Any]:
        return [facts(row["x"]) for row in space]

    listed, carried = grid(x=values), rows([{"x": value} for value in values])
    expected = seen(listed)
    assert seen(carried) == expected
    assert [facts(decoded(row["x"], loaded_member)) for row in carried.encoded_rows(0, len(values))] == expected
    data = msgspec.json.decode(msgspec.json.encode(space_to_json(listed)))
    back = space_from_json(data, member=loaded_member)
    assert (seen(back), back == listed) == (expected, True)
    assert enums_of(data) == enums_of(space_to_json(carried)) == enums_in(encoded_values(values))


@pytest.mark.parametrize("value", [[1], {"a": [1]}, ([1],), np.zeros(2), [np.zeros(2)]])
def test_what_a_function_may_change_is_known(value: Any) -> None:
    space = grid(x=[0, value], y=["a", dt.date(2024, 1, 1)]) * grid(z=range(3)) * grid(p=[Path("a")])
    assert "x" in mutable_names(space.form()) <= {"x", "y", "p"}
    copy = fresh(value)
    assert copy is not value
    assert facts(copy) == facts(value)


def test_members_are_found_only_among_what_is_loaded() -> None:
    name = f"{__name__}:Colour"
    assert decoded({"$enum": [name, "RED", "r"]}, loaded_member) is Colour.RED
    assert decoded({"$enum": [name, "RED"]}) == EnumMember(name, "RED")
    sys.modules.pop("this", None)
    for bad in ("this:Colour", f"{__name__}:dt.date", f"{__name__}:np.ma", f"{__name__}:absent", "os:system"):
        with pytest.raises(FunctionError, match="does not load"):
            loaded_member(EnumMember(bad, "RED"))
    assert "this" not in sys.modules
    with pytest.raises(FunctionError, match="has no member 'GREEN' here: it has RED, BLUE"):
        loaded_member(EnumMember(name, "GREEN"))


@pytest.mark.parametrize(
    "data",
    [
        {"$date": "soon"},
        {"$date": 5},
        {"$enum": []},
        {"$enum": [1, 2, 3, 4]},
        {"$ndarray": {"dtype": "O", "shape": [1], "data": "AAAAAAAAAAA="}},
        {"$ndarray": {"dtype": "<f8", "shape": [2], "data": "AAAAAAAAAAA="}},
        {"$ndarray": {"dtype": "nonsense", "shape": [0], "data": ""}},
        {"$ndarray": []},
        {"$decimal": "x"},
        {"$datetime": ["2024-01-02T03:00:00", "No/Where", 0]},
        {"$datetime": ["2024-01-02T03:00:00", "../../etc/passwd", 0]},
        {"$dict": [1]},
        {"$bytes": "?"},
        {"$complex": 1},
        {"$timedelta": [10**12, 0, 0]},
        {"$numpy": ["x", "M8[ns]"]},
        {"$path": 5},
        {"$text": "ä"},
    ],
)
def test_damaged_data_is_a_message_error(data: Any) -> None:
    with pytest.raises(MessageError, match=r"expected a parameter, got \{'\$"):
        decoded(data)


def test_data_of_earlier_versions_is_read_as_it_was_meant() -> None:
    old = [1, "2024-01-02", {"$gt": 5}, {"$date": 1, "b": 2}, None, [1.5]]
    assert decoded(old) == old


def test_a_table_has_text_for_paths_and_names_for_members() -> None:
    stored = storable([Path("a/b"), Colour.RED, Level.LOW, EnumMember("m:C", "X"), [Path("c")], {"k": Colour.BLUE}, 1])
    assert stored == ["a/b", "RED", 1, "X", ["c"], {"k": "BLUE"}, 1]


def test_a_table_has_as_many_levels_as_a_parameter() -> None:
    assert DEEPEST == build.DEEPEST


def test_what_pandas_and_numpy_say_in_their_own_way() -> None:
    frame = pd.DataFrame({"t": pd.to_datetime(["2024-01-02", None]), "s": ["a", None], "f": [1.5, None], "i": [1, 2]})
    first, second = rows(frame)
    assert first == {"t": dt.datetime(2024, 1, 2), "s": "a", "f": 1.5, "i": 1}
    assert list(map(type, first.values())) == [dt.datetime, str, float, int]
    assert (second["t"], second["s"], second["i"]) == (None, None, 2)
    assert np.isnan(second["f"])
    days = np.array(["2024-01-02", "NaT"], "M8[D]")
    assert [facts(row["d"]) for row in grid(d=days)] == list(map(facts, days))
    assert grid(x=Decimal("1.10"))[0] == {"x": Decimal("1.10")}
    assert [row["c"] for row in grid(c=Colour)] == list(Colour)
