"""From columns back to values: what a person who asks for a row gets is what the function returned."""

from __future__ import annotations

import decimal
import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ttg.errors import MessageError
from ttg.results.arrow import pa
from ttg.results.cells import value_of
from ttg.results.families import family_of
from ttg.results.kinds import List, Mixed, Record, Scalar, Type, array_leaf, family, is_text, packed_leaf, type_of_field
from ttg.results.packed import unpack


def values_of(array: pa.Array, kind: Type) -> list[Any]:
    """The Python values of a column: lists, dicts and NumPy arrays, ``np.datetime64`` where there are nanoseconds."""
    if is_text(kind):
        return [conformed(value_of(text), kind) for text in array.to_pylist()]
    if leaf := packed_leaf(kind):
        return unpack(array, leaf)
    if isinstance(kind, List):
        return _lists(array, kind)
    if isinstance(kind, Record):
        columns = [values_of(array.field(place), inner) for place, (_, inner) in enumerate(kind.fields)]
        names = [name for name, _ in kind.fields]
        rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        return _with_nulls(rows, array)
    assert isinstance(kind, Scalar)
    reader = _READERS.get(kind.name)
    return reader(array) if reader else _scalars(array, kind)


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a table as dicts of values."""
    columns = map(column_values, decoded(batch), batch.schema)
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def column_values(column: pa.Array, field: pa.Field) -> list[Any]:
    """The values of a column of a table, or of an answer in SQL, which may have other types."""
    try:
        kind = type_of_field(field)
    except MessageError:
        found: list[Any] = column.to_pylist()
        return found
    return values_of(column, kind)


def decoded(batch: pa.RecordBatch) -> list[pa.Array]:
    """The columns of a batch, with texts for dictionaries."""
    return [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns]


def _with_nulls(values: Iterable[Any], array: pa.Array) -> list[Any]:
    if not array.null_count:
        return list(values)
    nulls = array.is_null().to_numpy(zero_copy_only=False)
    return [None if null else value for null, value in zip(nulls, values, strict=True)]


def _scalars(array: pa.Array, kind: Scalar) -> list[Any]:
    found: list[Any] = array.to_pylist()
    if family(kind) == "decimal":
        return [None if value is None else plain_decimal(value) for value in found]
    return found


def plain_decimal(value: decimal.Decimal) -> decimal.Decimal:
    """An equal decimal that does not tell which scale its column has."""
    if not value.is_finite():
        return value
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).rstrip("0")
    if not text.lstrip("0"):
        return decimal.Decimal(0)
    return decimal.Decimal((sign, tuple(map(int, text)), exponent + len(digits) - len(text)))


# ---------------------------------------------------------------------------------------------- values of mixed types


def conformed(value: Any, kind: Type) -> Any:
    """``value`` as a column of type ``kind`` would give it back, so that it does not tell what it stood beside before:
    an int beside floats is a float, a dict has all the fields, a list that came as an array is one."""
    if value is None or value is np.ma.masked or (isinstance(value, _STAMPS) and np.isnat(value)):
        return None
    if isinstance(value, np.generic) and not isinstance(value, _STAMPS):
        value = value.item()
    if isinstance(kind, List):
        leaf = array_leaf(kind)
        return _array(_nested(value, kind), leaf) if leaf else [conformed(item, kind.item) for item in value]
    if isinstance(kind, Record):
        return {name: conformed(value.get(name), inner) for name, inner in kind.fields}
    if isinstance(kind, Mixed):
        branch = _branch(kind, family_of(value))
        return value if branch is None else conformed(value, branch)
    adapt = _ADAPT.get(kind.name)
    return adapt(value) if adapt else value


@lru_cache(maxsize=1024)
def _branch(kind: Mixed, name: str) -> Type | None:
    return next((branch for branch in kind.branches if family(branch) == name), None)


def as_float(number: Any) -> Any:
    """An equal float, or else the integer itself."""
    try:
        converted = float(number)
    except OverflowError:
        return number
    return converted if isinstance(number, float) or converted == number else number


_STAMPS = (np.datetime64, np.timedelta64)


def _nested(value: Any, kind: Type) -> Any:
    return [_nested(item, kind.item) for item in value] if isinstance(kind, List) else conformed(value, kind)


_is_none = np.frompyfunc(lambda item: item is None, 1, 1)


def _array(nested: list[Any], leaf: Scalar) -> Any:
    """An array of lists in each other, with the nulls masked."""
    objects = np.array(nested, object)
    nulls = _is_none(objects).astype(bool)
    dtype = leaf.name if family(leaf) in ("number", "bool") else _DTYPES.get(leaf.name)
    if dtype is None:
        return objects.astype(str) if leaf.name == "text" and not nulls.any() else objects
    if family(leaf) in ("datetime", "timedelta"):
        return np.where(nulls, np.array("NaT", dtype), objects).astype(dtype)
    filled = np.where(nulls, 0, objects).astype(dtype)
    return np.ma.masked_array(filled, nulls) if nulls.any() else filled


def _with_nanoseconds(code: str) -> Callable[[Any], Any]:
    def adapt(value: Any) -> Any:
        exact = np.array(value, f"{code}8[us]")[()] if not isinstance(value, np.generic) else value
        wide = exact.astype(f"{code}8[ns]")
        return wide if wide.astype(exact.dtype) == exact else value

    return adapt


def _without_nanoseconds(code: str) -> Callable[[Any], Any]:
    """Python's own where it can hold the value, else microseconds or nanoseconds where these can."""

    def adapt(value: Any) -> Any:
        if not isinstance(value, np.generic):
            return value
        for unit in ("us", "ns"):
            plain = value.astype(f"{code}8[{unit}]")
            if plain.astype(value.dtype) == value:
                return plain if unit == "ns" or isinstance(plain.item(), int) else plain.item()
        return value

    return adapt


_DTYPES = {
    "complex64": "c8",
    "complex128": "c16",
    "datetime:us": "M8[us]",
    "datetime:ns": "M8[ns]",
    "timedelta:us": "m8[us]",
    "timedelta:ns": "m8[ns]",
}
_ADAPT: dict[str, Callable[[Any], Any]] = {
    "float32": as_float,
    "float64": as_float,
    "number": as_float,
    "datetime:ns": _with_nanoseconds("M"),
    "datetime:wide": _without_nanoseconds("M"),
    "timedelta:ns": _with_nanoseconds("m"),
    "timedelta:wide": _without_nanoseconds("m"),
}
# ---------------------------------------------------------------------------------------------- scalars


def _complex(array: pa.StructArray) -> list[Any]:
    return _with_nulls(complex_numbers(array).tolist(), array)


def complex_numbers(array: pa.StructArray) -> np.ndarray[Any, Any]:
    """The numbers of a column of complex ones; what its nulls are is not said."""
    real, imag = (array.field(place).to_numpy(zero_copy_only=False) for place in (0, 1))
    numbers = np.empty(len(array), np.complex64 if real.dtype == np.float32 else np.complex128)
    numbers.real, numbers.imag = real, imag
    return numbers


def _times(array: pa.Array) -> list[Any]:
    """Python's own, if they can hold it: years from 1 to 9999, microseconds."""
    stamps = array.to_numpy(zero_copy_only=False)
    found = stamps.astype(object).tolist() if stamps.dtype != np.dtype("M8[ns]") else [*stamps]
    found = [stamp if isinstance(value, int) else value for value, stamp in zip(found, stamps, strict=True)]
    return _with_nulls(found, array)


def _nanoseconds(array: pa.Array) -> list[Any]:
    return _with_nulls(array.to_numpy(zero_copy_only=False), array)


_READERS: dict[str, Callable[[pa.Array], list[Any]]] = {
    "complex64": _complex,
    "complex128": _complex,
    "datetime:us": _times,
    "datetime:ns": _nanoseconds,
    "timedelta:us": _times,
    "timedelta:ns": _nanoseconds,
}


# ---------------------------------------------------------------------------------------------- lists and arrays


def flattened(array: pa.ListArray) -> tuple[np.ndarray[Any, Any], pa.Array]:
    """Where each list begins and ends among the items, and the items of all of them."""
    ends = array.offsets.to_numpy()
    return ends - ends[0], array.values.slice(ends[0], ends[-1] - ends[0])


def _lists(array: pa.ListArray, kind: List) -> list[Any]:
    if (leaf := array_leaf(kind)) is not None:
        return _with_nulls(arrays_of_lists(array, kind, leaf), array)
    ends, flat = flattened(array)
    items = values_of(flat, kind.item)
    bounds = ends.tolist()
    return _with_nulls((items[a:b] for a, b in itertools.pairwise(bounds)), array)


def arrays_of_lists(array: pa.ListArray, kind: Type, leaf: Scalar) -> list[Any]:
    """The NumPy arrays of a column of lists."""
    levels: list[np.ndarray[Any, Any]] = []
    while isinstance(kind, List):
        ends, array = flattened(array)
        levels.append(ends)
        kind = kind.item
    flat = numpy_items(array, leaf)
    return [_shaped(flat, levels, row) for row in range(len(levels[0]) - 1)]


def _shaped(flat: Any, levels: Sequence[np.ndarray[Any, Any]], row: int) -> Any:
    first, last, shape = row, row + 1, [1]
    for ends in levels:
        count = last - first
        first, last = int(ends[first]), int(ends[last])
        shape.append((last - first) // count if count else 0)
    found = flat[first:last].reshape(shape[1:])
    return found.data if isinstance(found, np.ma.MaskedArray) and not found.mask.any() else found


def numpy_items(array: pa.Array, leaf: Scalar) -> Any:
    """The items of arrays, as NumPy has them; a masked array if some are null."""
    if leaf.name.startswith("complex"):
        items: Any = complex_numbers(array)
    elif family(leaf) in ("number", "bool", "datetime", "timedelta"):
        fills = array.null_count and family(leaf) in ("number", "bool")  # a time that is null is NaT to NumPy
        items = (array.fill_null(_filler(array)) if fills else array).to_numpy(zero_copy_only=False)
    else:
        values = values_of(array, leaf)
        items = np.empty(len(values), object)
        items[:] = values
        return np.array(values) if family(leaf) == "text" and not array.null_count and values else items
    if array.null_count and items.dtype.kind not in "mM":
        return np.ma.masked_array(items, array.is_null().to_numpy(zero_copy_only=False))
    return items


def _filler(array: pa.Array) -> pa.Scalar:
    return pa.scalar(0).cast(array.type) if not pa.types.is_boolean(array.type) else pa.scalar(False)
