"""From NumPy arrays to columns, whole: no item becomes a Python object. Also nanoseconds, which only NumPy knows."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from ttg.results.arrow import pa
from ttg.results.convert import Typed, cells, lists, records
from ttg.results.kinds import List, Scalar, arrow_type, packed_leaf
from ttg.results.packed import pack_rows

Ndarray = np.ndarray[Any, Any]

_INT64_MAX = (1 << 63) - 1
_MICROSECONDS = ("us", "ms", "s", "m", "h", "D", "W", "M", "Y")  # and what they hold exactly


def column_of_ndarray(values: Ndarray) -> Typed | None:
    """The column with one item per row; ``None`` where each item has to be looked at (:mod:`ttg.results.build`).

    It may share the memory of ``values``. ``TypeError`` for a unit of time that no column has."""
    if values.ndim > 1:
        return _nested(values)
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    data = np.asarray(values.data if mask is not None else values)
    if data.dtype.names or (mask is not None and mask.dtype != np.bool_):
        return _structured(values) if mask is None else None
    if data.dtype.kind == "c":
        return _complex(data, mask)
    if data.dtype.kind in "mM":
        return stamps(data, mask)
    if data.dtype.kind == "U":
        return _texts(data, mask)
    return _numbers(data, mask) if data.dtype.kind in "biuf" else None


def _nested(values: Ndarray) -> Typed | None:
    found = column_of_ndarray(values.reshape(-1))
    if found is None:
        return None
    kind, array = found
    of_rows: Any = kind
    for _ in values.shape[1:]:
        of_rows = List(of_rows, array=True)
    if leaf := packed_leaf(of_rows):
        return of_rows, pack_rows(values, leaf)
    for axis in range(values.ndim - 1, 0, -1):
        count = int(np.prod(values.shape[:axis]))
        array = lists(np.arange(count + 1, dtype=np.int32) * values.shape[axis], array)
        kind = List(kind, array=True)
    return kind, array


def _structured(values: Ndarray) -> Typed | None:
    columns = {name: column_of_ndarray(values[name]) for name in values.dtype.names or ()}
    known = {name: column for name, column in columns.items() if column is not None}
    return records(known, None, len(values)) if len(known) == len(columns) else None


def _complex(data: Ndarray, mask: Ndarray | None) -> Typed:
    kind = Scalar("complex64" if data.dtype.itemsize == np.dtype("c8").itemsize else "complex128")
    part = np.float32 if kind.name == "complex64" else np.float64
    parts = [pa.array(np.ascontiguousarray(half, part)) for half in (data.real, data.imag)]
    nulls = None if mask is None else pa.array(mask)
    return kind, pa.StructArray.from_arrays(parts, fields=list(arrow_type(kind)), mask=nulls)


def _texts(data: Ndarray, mask: Ndarray | None) -> Typed | None:
    try:
        return Scalar("text"), pa.array(data, pa.string(), mask=mask)
    except (UnicodeEncodeError, ValueError, pa.ArrowException):
        return None


def _numbers(data: Ndarray, mask: Ndarray | None) -> Typed:
    dtype = data.dtype.newbyteorder("=")
    if dtype.kind == "f":
        dtype = np.dtype(np.float32 if dtype.itemsize <= np.dtype("f4").itemsize else np.float64)
    elif dtype == np.uint64 and not _need_all_bits(data, mask):
        dtype = np.dtype(np.int64)
    return Scalar(dtype.name), pa.array(data.astype(dtype, copy=False), mask=mask)


def _need_all_bits(data: Ndarray, mask: Ndarray | None) -> bool:
    seen = data if mask is None else data[~mask]
    return bool(len(seen) and seen.max() > _INT64_MAX)


# ---------------------------------------------------------------------------------------------- moments and durations


def stamps(data: Ndarray, mask: Ndarray | None = None) -> Typed:
    """Times in the coarsest unit that holds them: microseconds, or nanoseconds where finer ones came."""
    family = "datetime" if data.dtype.kind == "M" else "timedelta"
    unit = np.datetime_data(data.dtype)[0]
    if data.dtype.kind == "m" and unit in ("M", "Y", "generic"):
        raise TypeError(f"expected a timedelta64 of weeks or shorter units, got {data.dtype}: how long is that?")
    known = "us" if unit in _MICROSECONDS else "ns"
    converted = data.astype(f"{data.dtype.kind}8[{known}]")
    same = (converted.astype(data.dtype) == data) | np.isnat(data)
    if not same.all():
        hidden = np.isnat(data) if mask is None else mask | np.isnat(data)
        values = [None if null else value for value, null in zip(data, hidden, strict=True)]
        return Scalar(f"{family}:wide"), cells(values, Scalar(f"{family}:wide"))
    return Scalar(f"{family}:{known}"), pa.array(converted, mask=mask)


def naive_datetimes(values: Sequence[Any]) -> Typed:
    """Of datetimes without a time zone, NumPy's and those of pandas."""
    if set(map(type, values)) <= {datetime.datetime, type(None)}:
        return Scalar("datetime:us"), pa.array(values, pa.timestamp("us"))
    return _of_objects([_stamp(value, "M") for value in values], "datetime")


def aware_datetimes(values: Sequence[Any]) -> Typed:
    """Of datetimes with a time zone, in UTC."""
    if set(map(type, values)) <= {datetime.datetime, type(None)}:
        for value in values:
            if value is not None and value.year in (datetime.MINYEAR, datetime.MAXYEAR):
                _in_utc(value)
        return Scalar("utc:us"), pa.array(values, pa.timestamp("us", "UTC"))
    kind, array = naive_datetimes([None if value is None else _in_utc(value) for value in values])
    assert isinstance(kind, Scalar)
    utc = Scalar(kind.name.replace("datetime", "utc"))
    return utc, array.cast(arrow_type(utc))


def _in_utc(value: datetime.datetime) -> datetime.datetime:
    try:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(f"expected a time that is in the years 1 to 9999 in UTC, too; got {value}") from None


def durations(values: Sequence[Any]) -> Typed:
    """Of timedeltas, Python's, NumPy's and those of pandas."""
    if set(map(type, values)) <= {datetime.timedelta, type(None)}:
        try:
            return Scalar("timedelta:us"), pa.array(values, pa.duration("us"))
        except (OverflowError, pa.ArrowException):
            return Scalar("timedelta:wide"), cells(values, Scalar("timedelta:wide"))
    return _of_objects([_stamp(value, "m") for value in values], "timedelta")


def _stamp(value: Any, code: str) -> Any:
    """A value as NumPy has it; one of pandas with its nanoseconds."""
    if value is None or isinstance(value, np.generic):
        return value
    if type(value).__name__ == "NaTType":
        return None
    exact = getattr(value, "to_datetime64" if code == "M" else "to_timedelta64", None)
    return exact() if exact else np.array(value, f"{code}8[us]")[()]


def _of_objects(values: list[Any], family: str) -> Typed:
    """One unit for NumPy's scalars of any units."""
    code = "M" if family == "datetime" else "m"
    groups = [stamps(np.array([value])) for value in values if value is not None]
    names = {kind.name for kind, _ in groups if isinstance(kind, Scalar)}
    name = next((f"{family}:{unit}" for unit in ("wide", "ns", "us") if f"{family}:{unit}" in names), f"{family}:us")
    if not name.endswith(":wide"):
        dtype = f"{code}8[{name[-2:]}]"
        column = np.array([np.array("NaT", dtype) if value is None else value.astype(dtype) for value in values], dtype)
        if all(map(_holds, column, values)):
            return Scalar(name), pa.array(column)
    return Scalar(f"{family}:wide"), cells(
        [None if value is None or np.isnat(value) else value for value in values], Scalar(f"{family}:wide")
    )


def _holds(stamp: Any, value: Any) -> bool:
    """Compared in the unit of ``value``: a comparison in a finer one may overflow."""
    return value is None or np.isnat(value) or bool(stamp.astype(value.dtype) == value)
