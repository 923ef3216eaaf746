"""From Python values to a column and its type, level by level: no rule looks at more than one level of lists or dicts.

What becomes of a value:

==============================================  ==================================================================
float, int, bool, str, bytes, None              a column of that type; ``None`` is null; of NumPy with its width
int and float mixed (not bool)                  float64, if the integers are equal to floats
list, tuple, array                              a list column; arrays of several dimensions are bytes and shape
dict, dataclass, named tuple                    a struct; ``None`` and missing fields are null
complex                                         a struct of ``real`` and ``imag``, marked
datetime, date, time, timedelta                 Arrow's types with microseconds, or nanoseconds where such came;
                                                aware datetimes in UTC
Decimal                                         decimal with 38 digits
path, enum, UUID                                its text, its name, its text
values that disagree at some position           text there, from which each can be read back (:mod:`ttg.results.cells`)
anything else                                   :class:`Unstorable`
==============================================  ==================================================================
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from ttg.results.arrow import pa
from ttg.results.cells import cell_of
from ttg.results.convert import Typed, cells, merged, nested, records
from ttg.results.families import Unstorable, check_names, family_of, family_of_kind, fields_reader, is_aware, is_null
from ttg.results.kinds import DECIMAL_DIGITS, NULL, List, Scalar, Type, arrow_type, family, joined, mixed, packed_leaf
from ttg.results.ndarrays import aware_datetimes, column_of_ndarray, durations, naive_datetimes
from ttg.results.packed import pack
from ttg.results.values import as_float, conformed, values_of

DEEPEST = 32
"""Levels of lists and dicts in each other; Arrow's messages end at 64."""
_CIRCLES_FROM = 3

REFUSALS = (pa.ArrowException, TypeError, ValueError, OverflowError, RecursionError)


def build(values: Sequence[Any], depth: int = 0, kinds: set[type] | None = None) -> Typed:
    """The type of a column of ``values``, and the column. One of :data:`REFUSALS` when a value is none of a table.
    ``kinds`` are the values' types, where they are known already."""
    kinds = kinds or set(map(type, values))
    families = set(map(family_of_kind, kinds))
    if "null" in families and not kinds <= _ORDINARY:
        values, kinds = _without_foreign_nulls(values)
    if (
        "list" in families
        and any(issubclass(kind, np.ndarray) for kind in kinds)
        and any(isinstance(value, np.ndarray) and not value.ndim for value in values)
    ):
        return build([_without_dimension(value) for value in values], depth)
    families.discard("null")
    if not families:
        return NULL, pa.nulls(len(values))
    name = families.pop()
    if families or (name == "datetime" and len({is_aware(value) for value in values if value is not None}) > 1):
        return _mixed(values, depth)
    if name in ("list", "record"):
        _check_depth(values, depth)
        return _lists(values, kinds, depth) if name == "list" else _records(values, depth)
    return _SCALARS[name](values, kinds)


_ORDINARY = {type(None), float, int, str, bool, dict, list, tuple}


def _without_foreign_nulls(values: Sequence[Any]) -> tuple[Sequence[Any], set[type]]:
    """``None`` for pandas' and NumPy's ways to say that nothing is there."""
    known = [None if is_null(value) else value for value in values]
    return known, set(map(type, known))


def _mixed(values: Sequence[Any], depth: int) -> Typed:
    """Text, of each value as the column of its own family has it."""
    groups = _by_family(values)
    built = {name: build([values[place] for place in places], depth) for name, places in groups.items()}
    kind = mixed(inner for inner, _ in built.values())
    texts: list[str | None] = [None] * len(values)
    for name, places in groups.items():
        inner, array = built[name]
        branch = next(found for found in kind.branches if family(found) == family(inner))
        for place, value in zip(places, values_of(array, inner), strict=True):
            texts[place] = cell_of(value if inner == branch else conformed(value, branch))
    return kind, pa.array(texts, pa.string())


def _by_family(values: Sequence[Any]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        name = family_of(value)
        if name != "null":
            groups.setdefault(name, []).append(place)
    return groups


def _check_depth(values: Sequence[Any], depth: int) -> None:
    if depth >= DEEPEST:
        raise Unstorable(f"expected at most {DEEPEST} levels of lists and dicts in each other")
    if depth == _CIRCLES_FROM:  # a value that contains itself twice would grow with each level
        for value in values:
            _check_circles(value, set())


def _check_circles(value: Any, around: set[int]) -> None:
    if not isinstance(value, list | tuple | dict):
        return
    if id(value) in around or len(around) > DEEPEST:
        raise Unstorable("expected a value that does not contain itself, and is not too deep")
    around.add(id(value))
    for inner in value.values() if isinstance(value, dict) else value:
        _check_circles(inner, around)
    around.remove(id(value))


# ---------------------------------------------------------------------------------------------- lists and records


def _without_dimension(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.ndim:
        return value
    return None if np.ma.getmaskarray(value).any() else value[()]


def _lists(values: Sequence[Any], kinds: set[type], depth: int) -> Typed:
    """Arrays of one dtype and number of dimensions become a column without a look at their items."""
    if not any(issubclass(kind, np.ndarray) for kind in kinds):
        return _plain_lists(values, depth)
    if kinds == {np.ndarray} and len({(value.dtype, value.ndim) for value in values}) == 1:
        return _arrays(values, depth)
    keys = [(value.dtype, value.ndim) if isinstance(value, np.ndarray) else None for value in values]
    groups: dict[Any, list[int]] = {}
    for place, (key, value) in enumerate(zip(keys, values, strict=True)):
        if value is not None:
            groups.setdefault(key, []).append(place)
    columns = []
    for key, places in groups.items():
        group = [values[place] for place in places]
        columns.append((places, _plain_lists(group, depth) if key is None else _arrays(group, depth)))
    return merged(len(values), columns)


def _plain_lists(values: Sequence[Any], depth: int) -> Typed:
    sizes = [0 if value is None else len(value) for value in values]
    items = list(chain.from_iterable(value for value in values if value is not None))
    item, array = build(items, depth + 1)
    nulls = pa.array([value is None for value in values]) if any(value is None for value in values) else None
    ends = np.zeros(len(values) + 1, np.int32)
    np.cumsum(sizes, out=ends[1:])
    return List(item), pa.ListArray.from_arrays(pa.array(ends), array, mask=nulls)


def _arrays(values: Sequence[Any], depth: int) -> Typed:
    """Arrays of one dtype and number of dimensions; those of objects are lists."""
    first = values[0]
    if first.dtype.kind == "O":
        return _plain_lists([[*value] for value in values], depth)
    join_all = np.ma.concatenate if any(isinstance(value, np.ma.MaskedArray) for value in values) else np.concatenate
    shapes = {value.shape for value in values}
    if len(shapes) == 1:
        whole = first[None] if len(values) == 1 else join_all(values).reshape(len(values), *first.shape)
        if found := column_of_ndarray(whole):
            return found
    flat = join_all([value.reshape(-1) for value in values])
    leaf, array = column_of_ndarray(flat) or build(flat.tolist(), depth + 1)
    kind = leaf
    for _ in first.shape:
        kind = List(kind, array=True)
    if isinstance(leaf, Scalar) and packed_leaf(kind):
        return kind, pack(values, leaf)
    return kind, nested([value.shape for value in values], array)


def _records(values: Sequence[Any], depth: int) -> Typed:
    readers = {kind: fields_reader(kind) or _void_reader for kind in set(map(type, values)) if kind is not type(None)}
    rows = [None if value is None else readers[type(value)](value) for value in values]
    shapes = dict.fromkeys(tuple(row) for row in rows if row is not None)
    check_names(name for shape in shapes for name in shape)
    names = next(iter(shapes)) if len(shapes) == 1 else sorted({name for shape in shapes for name in shape})
    columns = {name: build([None if row is None else row.get(name) for row in rows], depth + 1) for name in names}
    nulls = pa.array([row is None for row in rows]) if any(row is None for row in rows) else None
    return records(columns, nulls, len(rows))


def _void_reader(value: np.void) -> dict[str, Any]:
    if value.dtype.names is None:
        raise Unstorable("expected a numpy.void with fields, got one of raw bytes: return bytes(value)")
    return {name: value[name] for name in value.dtype.names}


# ---------------------------------------------------------------------------------------------- scalars

Kinds = set[type]
_PLAIN_NUMBERS = {int, float, type(None)}


def _numbers(values: Sequence[Any], kinds: Kinds) -> Typed:
    if not kinds <= _PLAIN_NUMBERS:
        found, array = _plain_numbers([_plain_number(value) for value in values], None)
        declared = joined(_declared(kind) for kind in kinds if kind is not type(None))
        narrower = found in (Scalar("int64"), Scalar("float64")) and declared != NULL
        return (declared, array.cast(arrow_type(declared))) if narrower else (found, array)
    return _plain_numbers(values, kinds)


def _plain_number(value: Any) -> Any:
    if value is None or type(value) in (int, float):
        return value
    return int(value) if isinstance(value, int | np.integer) else float(value)


@lru_cache(maxsize=256)
def _declared(kind: type) -> Type:
    """The type that a NumPy scalar says it has; of the widest ones the values decide."""
    if issubclass(kind, np.float16 | np.float32):
        return Scalar("float32")
    if issubclass(kind, float | np.floating):
        return Scalar("float64")
    name = np.dtype(kind).name if issubclass(kind, np.integer) else "int64"
    return Scalar(name if name not in ("uint64", "longlong", "ulonglong") else "int64")


def _plain_numbers(values: Sequence[Any], kinds: Kinds | None) -> Typed:
    kinds = (kinds or set(map(type, values))) - {type(None)}
    if kinds == {float}:
        return Scalar("float64"), pa.array(values, pa.float64())
    if kinds == {int}:
        return _integers(values)
    try:
        return Scalar("float64"), pa.array(values, pa.float64())  # which refuses integers of more than 53 bits
    except (OverflowError, pa.ArrowInvalid):
        floats = [None if value is None else as_float(value) for value in values]
    if any(isinstance(value, int) for value in floats):
        return Scalar("number"), cells(floats, Scalar("number"))
    return Scalar("float64"), pa.array(floats, pa.float64())


def _integers(values: Sequence[Any]) -> Typed:
    for name in ("int64", "uint64"):
        try:
            return Scalar(name), pa.array(values, arrow_type(Scalar(name)))
        except (OverflowError, pa.ArrowInvalid):
            continue
    return Scalar("bigint"), cells(values, Scalar("bigint"))


def _bools(values: Sequence[Any], kinds: Kinds) -> Typed:
    if kinds <= {bool, type(None)}:
        return Scalar("bool"), pa.array(values, pa.bool_())
    return Scalar("bool"), pa.array([None if value is None else bool(value) for value in values], pa.bool_())


def _complex(values: Sequence[Any], kinds: Kinds) -> Typed:
    name = "complex64" if kinds <= {np.complex64, type(None)} else "complex128"
    numbers = np.array([0 if value is None else value for value in values], name)
    nulls = np.array([value is None for value in values])
    found = column_of_ndarray(np.ma.masked_array(numbers, nulls) if nulls.any() else numbers)
    assert found is not None
    return found


def _texts(values: Sequence[Any], kinds: Kinds) -> Typed:
    texts = values if kinds <= {str, type(None)} else list(map(_as_text, values))
    try:
        return Scalar("text"), pa.array(texts, pa.string())
    except UnicodeEncodeError:  # names of files that are not UTF-8
        return Scalar("text:wide"), cells(texts, Scalar("text:wide"))


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, enum.Enum):
        return value.name
    return os.fsdecode(value) if isinstance(value, os.PathLike) else str(value)


def _bytes(values: Sequence[Any], kinds: Kinds) -> Typed:
    return Scalar("bytes"), pa.array([None if value is None else bytes(value) for value in values], pa.binary())


def _decimals(values: Sequence[Any], kinds: Kinds) -> Typed:
    exponents = {0 if value is None else value.as_tuple().exponent for value in values}
    numbers = [exponent for exponent in exponents if isinstance(exponent, int)]
    if len(numbers) == len(exponents) and -min(numbers) <= DECIMAL_DIGITS:
        kind = Scalar(f"decimal:{max(0, -min(numbers))}")
        try:
            return kind, pa.array(values, arrow_type(kind))
        except pa.ArrowInvalid:
            pass
    wide = Scalar("decimal:wide")
    return wide, cells(values, wide)


def _dates(values: Sequence[Any], kinds: Kinds) -> Typed:
    return Scalar("date"), pa.array(values, pa.date32())


def _times(values: Sequence[Any], kinds: Kinds) -> Typed:
    if any(value is not None and value.tzinfo is not None for value in values):
        return Scalar("time:wide"), cells(values, Scalar("time:wide"))
    return Scalar("time"), pa.array(values, pa.time64("us"))


def _datetimes(values: Sequence[Any], kinds: Kinds) -> Typed:
    return aware_datetimes(values) if any(map(is_aware, values)) else naive_datetimes(values)


_SCALARS: dict[str, Callable[[Sequence[Any], Kinds], Typed]] = {
    "number": _numbers,
    "bool": _bools,
    "complex": _complex,
    "text": _texts,
    "bytes": _bytes,
    "decimal": _decimals,
    "date": _dates,
    "time": _times,
    "datetime": _datetimes,
    "timedelta": lambda values, kinds: durations(values),
}
