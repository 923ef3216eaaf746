"""From a list of return values to Arrow columns. The child imports this, so it stays light: no Parquet, no collector.

What becomes of a value:

==============================================  ==================================================================
float, int, bool, str, bytes, None              a column ``result`` of that type; ``None`` is null
int and float mixed (not bool)                  float64 (Python's own ``float(i)``; an int it cannot hold: JSON text)
dict, dataclass, named tuple                    one column per field; ``None`` and missing fields are null
list, tuple, 1-D array                          a list column; arrays of n dimensions are nested lists
dict or dataclass inside another value          a struct column
NumPy scalar                                    as the Python value
complex                                         a struct of ``real`` and ``imag``
datetime, date, time, timedelta                 Arrow's types with microseconds; aware datetimes in UTC
Decimal                                         decimal with 38 digits
types that disagree within a column,            the whole column becomes JSON text, marked in the field's metadata,
int beyond 64 bit, lists of mixed things        from which every value can be read back
anything else                                   :class:`Unencodable`, naming the position
==============================================  ==================================================================

Rows with different fields get the union of them, in alphabetical order. All rules give the same columns however the
rows are cut into batches (:mod:`ttg.results.schema` applies them across batches): a table must not depend on chunks.
(One trace remains: in a column of JSON text, a whole number among floats may read ``2`` or ``2.0``.)
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ttg.errors import MessageError
from ttg.results.arrow import pa
from ttg.results.ndarrays import array_of_ndarray
from ttg.results.plain import Unencodable as Unencodable

RESULT = "result"
SECONDS = "__seconds"
PARAMETER_PREFIX = "__param_"
JSON_MARK = {b"ttg": b"json"}
DECIMAL_DIGITS = 38

_REFUSALS = (pa.ArrowException, TypeError, ValueError, OverflowError, RecursionError)

Column = tuple[pa.Field, pa.Array]


def encode_rows(
    values: Sequence[Any],
    call_seconds: Sequence[float] | None = None,
    parameters: Mapping[str, Sequence[Any]] | None = None,
) -> bytes:
    """One row per value, as an Arrow IPC stream with one record batch.

    ``call_seconds`` adds the seconds of each call; ``parameters`` adds the columns of a space that cannot be computed.
    Raises :class:`Unencodable`, listing every culprit.
    """
    return stream(_columns_of_rows(values), call_seconds, parameters)


def columns_of(columns: Mapping[str, Any]) -> list[Column]:
    """The fields and arrays of whole columns of results. Raises :class:`Unencodable`."""
    _check_names([columns], {tuple(columns)})
    return [_column(_field_name(name), values) for name, values in columns.items()]


def decode_payload(payload: bytes) -> pa.RecordBatch:
    """The record batch of a payload, without copying; :class:`~ttg.errors.MessageError` if it is none."""
    try:
        end = SCHEMA_PREFIX_BYTES + int.from_bytes(payload[4:SCHEMA_PREFIX_BYTES], "little")
        schema = _schema_of(payload[:end])
        return pa.ipc.read_record_batch(pa.py_buffer(payload).slice(end), schema)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        raise MessageError(f"expected one Arrow record batch, got {len(payload)} bytes: {error}") from error


SCHEMA_PREFIX_BYTES = 8  # of a message: a mark, and the length of its flatbuffer


@lru_cache(maxsize=256)
def _schema_of(message: bytes) -> pa.Schema:
    """The schema that an IPC stream begins with; most streams of a run begin with the same one."""
    return pa.ipc.read_schema(pa.py_buffer(message))


def stream(
    columns: list[Column],
    call_seconds: Sequence[float] | None = None,
    parameters: Mapping[str, Sequence[Any]] | None = None,
) -> bytes:
    """The payload of result columns, with what :func:`encode_rows` can add to them."""
    if call_seconds is not None:
        columns.append((pa.field(SECONDS, pa.float32()), pa.array(np.asarray(call_seconds, dtype=np.float32))))
    for name, values in (parameters or {}).items():
        columns.append(_column(PARAMETER_PREFIX + name, values))
    schema = pa.schema([field for field, _ in columns])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([array for _, array in columns], schema=schema))
    payload: bytes = sink.getvalue().to_pybytes()
    return payload


# ---------------------------------------------------------------------------------------------- rows to columns


def _columns_of_rows(values: Sequence[Any]) -> list[Column]:
    array = _plain_numbers(values)
    if array is not None:
        return [(pa.field(RESULT, array.type), array)]
    kinds = _kinds(values)
    readers = {kind: reader for kind in kinds if (reader := _fields_reader(kind))}
    if not readers:
        return [_column(RESULT, values, kinds)]
    return _columns_of_records([_record(value, readers.get(type(value))) for value in values])


def _plain_numbers(values: Sequence[Any]) -> pa.Array | None:
    """The fast path (about 25 ns per value): nothing but floats, or nothing but ints of 64 bit."""
    kind = type(values[0]) if values else None
    dtype = _PLAIN.get(kind)
    if dtype is None or operator.countOf(map(type, values), kind) != len(values):
        return None
    try:
        return pa.array(np.fromiter(values, dtype, len(values)))
    except OverflowError:
        return None


_PLAIN: dict[Any, type] = {float: np.float64, int: np.int64}


def _fields_reader(kind: type) -> Callable[[Any], Mapping[Any, Any]] | None:
    """How the fields of a value of this type are read; ``None`` for values that are one field themselves."""
    if kind is dict:
        return _itself
    if issubclass(kind, Mapping):
        return dict
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return lambda value: {name: getattr(value, name) for name in names}
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = list(kind._fields)
        return lambda value: dict(zip(names, value, strict=True))
    return None


def _itself(value: Any) -> Any:
    return value


def _record(value: Any, reader: Callable[[Any], Mapping[Any, Any]] | None) -> Mapping[Any, Any]:
    if reader is not None:
        return reader(value)
    return {} if value is None else {RESULT: value}


def _columns_of_records(records: Sequence[Mapping[Any, Any]]) -> list[Column]:
    shapes = {tuple(record) for record in records} - {()}
    _check_names(records, shapes)
    if not shapes:
        return [(pa.field(RESULT, pa.null()), pa.nulls(len(records)))]
    names = shapes.pop() if len(shapes) == 1 else sorted({name for shape in shapes for name in shape})
    return [_column(_field_name(name), [record.get(name) for record in records]) for name in names]


def _check_names(records: Sequence[Mapping[Any, Any]], shapes: Iterable[tuple[Any, ...]]) -> None:
    bad = {shape for shape in shapes if not all(isinstance(name, str) for name in shape)}
    if bad:
        raise Unencodable(
            [
                (position, f"expected names of fields to be strings, got {list(record)!r:.100}")
                for position, record in enumerate(records)
                if tuple(record) in bad
            ]
        )


def _field_name(name: str) -> str:
    reserved = name == SECONDS or name.startswith(PARAMETER_PREFIX)
    return f"{RESULT}_{name}" if reserved else name


# ---------------------------------------------------------------------------------------------- one column


def _column(name: str, values: Any, kinds: set[type] | None = None) -> Column:
    """A field and its array, by the rules above; ``kinds`` are the values' types where they are known already."""
    if isinstance(values, np.ma.MaskedArray):
        values = np.where(np.ma.getmaskarray(values), np.array(None), values.data.astype(object))
    array = array_of_ndarray(values) if isinstance(values, np.ndarray) else None
    if array is None:
        array = _array(values, kinds or _kinds(values))
    if array is not None:
        return pa.field(name, array.type), array
    return json_column(name, values)


def column_of(name: str, values: Any) -> Column:
    """A field and its array from a list or a NumPy array, by the rules above. Raises :class:`Unencodable`."""
    return _column(name, values)


def json_column(name: str, values: Iterable[Any]) -> Column:
    """A column of JSON text. Raises :class:`Unencodable`."""
    return json_field(name), _json_array(values)


def json_field(name: str) -> pa.Field:
    """The field of a column of JSON text, marked as such."""
    return pa.field(name, pa.string(), metadata=JSON_MARK)


def is_json(field: pa.Field) -> bool:
    """Whether the field holds JSON text, put there for want of a common type."""
    return (field.metadata or {}).get(b"ttg") == b"json"


def _kinds(values: Iterable[Any]) -> set[type]:
    return set(map(type, values))


def _array(values: Any, kinds: set[type]) -> pa.Array | None:
    """An array with a type of its own, or ``None`` where only JSON text will do."""
    families = {_family(kind) for kind in kinds} - {"null"}
    if len(families) > 1 or "unknown" in families:
        return None
    family = next(iter(families), "null")
    prepare = _PREPARE.get(family)
    if prepare is _scalar and not any(issubclass(kind, np.generic) for kind in kinds):
        prepare = None
    try:
        array = pa.array(list(values) if prepare is None else [prepare(value) for value in values])
        return None if _unstorable(array.type) or _mixes_zones(array.type, values) else _normal(array)
    except _REFUSALS:
        return None


def _family(kind: type) -> str:
    """Types of one family share a column."""
    for family, members in _FAMILIES:
        if issubclass(kind, members):
            return family
    return "struct" if _fields_reader(kind) else "unknown"


# In the order of asking: bool is an int, datetime is a date, a named tuple is a tuple.
_FAMILIES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("null", (type(None),)),
    ("bool", (bool, np.bool_)),
    ("number", (int, float, np.integer, np.floating)),
    ("complex", (complex, np.complexfloating)),
    ("text", (str,)),
    ("bytes", (bytes, bytearray, memoryview)),
    ("list", (list, tuple, np.ndarray)),
    ("decimal", (decimal.Decimal,)),
    ("datetime", (datetime.datetime, np.datetime64)),
    ("date", (datetime.date,)),
    ("time", (datetime.time,)),
    ("timedelta", (datetime.timedelta, np.timedelta64)),
)


def _plain(value: Any) -> Any:
    """Containers as Arrow takes them: records as dicts, arrays of n dimensions as lists of 1-D arrays."""
    if isinstance(value, np.ndarray):
        nested = value.ndim > 1 or (value.ndim and value.dtype.kind == "c")
        return list(map(_plain, value)) if nested else value if value.ndim else value.item()
    if isinstance(value, complex | np.complexfloating):
        return {"real": float(value.real), "imag": float(value.imag)}
    reader = _fields_reader(type(value))
    if reader is not None:
        return {name: _plain(field) for name, field in reader(value).items()}
    if isinstance(value, list | tuple) and any(isinstance(item, _CONTAINERS) for item in value):
        return [_plain(item) for item in value]
    return _scalar(value)


_CONTAINERS = (list, tuple, dict, complex, np.ndarray, np.generic)


def _scalar(value: Any) -> Any:
    """The Python value of a NumPy scalar; a long double, which Python lacks, becomes a float."""
    if not isinstance(value, np.generic):
        return value
    plain = value.item()
    return float(plain) if isinstance(plain, np.floating) else plain


_PREPARE: dict[str, Callable[[Any], Any]] = {
    "number": _scalar,
    "bool": _scalar,
    "complex": _plain,
    "list": _plain,
    "struct": _plain,
    "bytes": lambda value: None if value is None else bytes(value),
    "datetime": lambda value: value.astype("M8[us]").item() if isinstance(value, np.datetime64) else value,
    "timedelta": lambda value: value.astype("m8[us]").item() if isinstance(value, np.timedelta64) else value,
}


def _unstorable(kind: pa.DataType) -> bool:
    """Whether a struct without fields is in it: Parquet has no such thing."""
    inner = [kind.field(position).type for position in range(kind.num_fields)]
    return (pa.types.is_struct(kind) and not inner) or any(map(_unstorable, inner))


def _mixes_zones(kind: pa.DataType, values: Any) -> bool:
    """Whether datetimes with and without a time zone would be mixed up: Arrow takes the naive ones for UTC."""
    if not pa.types.is_timestamp(kind):
        return False
    return len({getattr(value, "tzinfo", None) is None for value in values if value is not None}) > 1


def _normal(array: pa.Array) -> pa.Array:
    """Types that Arrow infers from the first value at hand, made independent of it."""
    if pa.types.is_decimal(array.type):
        return array.cast(pa.decimal128(DECIMAL_DIGITS, array.type.scale))
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        return array.cast(pa.timestamp("us", "UTC"))
    return array


# ---------------------------------------------------------------------------------------------- JSON text


def _json_array(values: Iterable[Any]) -> pa.Array:
    texts: list[str | None] = []
    failures: list[tuple[int, str]] = []
    for position, value in enumerate(values):
        try:
            texts.append(json_text(value))
        except (TypeError, ValueError, RecursionError) as error:
            failures.append((position, f"a {type(value).__name__} cannot be stored in a table: {error}"))
    if failures:
        raise Unencodable(failures)
    return pa.array(texts, pa.string())


def json_text(value: Any) -> str | None:
    """JSON of a value (``None`` stays null). Numbers that JSON lacks are written as ``NaN`` and ``Infinity``."""
    return None if value is None else json.dumps(value, default=_json_default)


def _json_default(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return _scalar(value) if isinstance(value, np.generic) else value.tolist()
    if isinstance(value, complex) or _fields_reader(type(value)):
        return _plain(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"expected numbers, text, bytes, dates, lists, dicts, records or arrays, got {_kind_name(value)}")


def _kind_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
