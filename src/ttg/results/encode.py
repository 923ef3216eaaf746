"""From a list of return values to Arrow columns. The child imports this, so it stays light: no Parquet, no collector.

Each field of a dict, dataclass or named tuple is a column; anything else is the column ``result``. What becomes of a
value in its column says :mod:`ttg.results.build`.

Rows with different fields get the union of them, in alphabetical order. All rules give the same columns however the
rows are cut into batches (:mod:`ttg.results.schema` applies them across batches): a table must not depend on chunks.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ttg.errors import MessageError
from ttg.results.arrow import pa
from ttg.results.build import REFUSALS, build
from ttg.results.families import Unstorable, check_names, fields_reader, is_null
from ttg.results.kinds import field_of
from ttg.results.ndarrays import column_of_ndarray
from ttg.results.plain import FLOAT_BYTES, FLOATS_HEAD, FLOATS_MARK
from ttg.results.plain import Unencodable as Unencodable

RESULT = "result"
SECONDS = "__seconds"
PARAMETER_PREFIX = "__param_"

LARGEST_VALUE_BYTES = 2_000_000_000
"""A little less than what a page of Parquet and a block of LZ4 hold."""
MOST_ITEMS = 1 << 27
"""In a list of one cell. Parquet's writer needs 18 bytes for each item besides the item itself, all at once."""
FEW_ROWS = 16
"""More of such a size are not in one payload."""

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
    if bad := _bad_names([columns], {tuple(columns)}):
        raise Unencodable(bad)
    return [column_of(_field_name(name), values) for name, values in columns.items()]


def decode_payload(payload: bytes) -> pa.RecordBatch:
    """The record batch of a payload, Arrow's without copying; :class:`~ttg.errors.MessageError` if it is none."""
    try:
        if payload[:1] == _FLOATS_BEGIN:
            return _floats(payload)
        end = SCHEMA_PREFIX_BYTES + int.from_bytes(payload[4:SCHEMA_PREFIX_BYTES], "little")
        schema = _schema_of(bytes(payload[:end]))
        return pa.ipc.read_record_batch(pa.py_buffer(payload).slice(end), schema)
    except (pa.ArrowException, OSError, EOFError, ValueError, struct.error) as error:
        raise MessageError(f"expected one Arrow record batch, got {len(payload)} bytes: {error}") from error


_FLOATS_BEGIN = bytes([FLOATS_MARK])
_FLOATS_SCHEMA = pa.schema([pa.field(RESULT, pa.float64())])


def _floats(payload: bytes) -> pa.RecordBatch:
    """The batch of MessagePack's floats. ``ValueError`` when they are not all there."""
    _, count = FLOATS_HEAD.unpack_from(payload)
    if len(payload) != FLOATS_HEAD.size + FLOAT_BYTES * count:
        raise ValueError(f"{count} floats take another number of bytes")
    floats = np.ndarray(count, ">f8", payload, FLOATS_HEAD.size + 1, (FLOAT_BYTES,)).astype("<f8")
    return pa.record_batch([pa.array(floats)], schema=_FLOATS_SCHEMA)


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
        columns.append(column_of(PARAMETER_PREFIX + name, values))
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
    kinds = set(map(type, values))
    if kinds == {dict}:
        return _columns_of_records(values)
    readers = {kind: reader for kind in kinds if (reader := fields_reader(kind))}
    if not readers:
        return [column_of(RESULT, values, kinds)]
    try:
        records = [_record(value, readers.get(type(value))) for value in values]
    except Exception as error:  # of a mapping or a property that the user wrote
        raise Unencodable(_culprits(values) or _all(values, error)) from error
    return _columns_of_records(records)


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


def _record(value: Any, reader: Callable[[Any], Mapping[Any, Any]] | None) -> Mapping[Any, Any]:
    return {RESULT: value} if reader is None else reader(value)


def _is_null(value: Any) -> bool:
    try:
        return is_null(value)
    except Unstorable:
        return False


def _columns_of_records(records: Sequence[Mapping[Any, Any]]) -> list[Column]:
    shapes = set(map(tuple, records)) - {()}
    if (RESULT,) in shapes and len(shapes) > 1:  # nothing but a null has no fields, as in a batch of its own
        records = [{} if tuple(record) == (RESULT,) and _is_null(record[RESULT]) else record for record in records]
        shapes = set(map(tuple, records)) - {()}
    if bad := _bad_names(records, shapes):
        raise Unencodable(bad)
    if not shapes:
        return [(pa.field(RESULT, pa.null()), pa.nulls(len(records)))]
    names = shapes.pop() if len(shapes) == 1 else in_order({name for shape in shapes for name in shape})
    return [column_of(_field_name(name), [record.get(name) for record in records]) for name in names]


def _bad_names(records: Sequence[Mapping[Any, Any]], shapes: Iterable[tuple[Any, ...]]) -> list[tuple[int, str]]:
    bad = {}
    for shape in shapes:
        try:
            check_names(shape)
        except Unstorable as error:
            bad[shape] = str(error)
    if not bad:
        return []
    return [(position, bad[tuple(record)]) for position, record in enumerate(records) if tuple(record) in bad]


def _field_name(name: str) -> str:
    """A name of our own gets a prefix, and so does what would then be taken for it."""
    bare = _bare(name)
    reserved = bare == SECONDS or bare.startswith(PARAMETER_PREFIX)
    return f"{RESULT}_{name}" if reserved else name


def in_order(names: Iterable[str]) -> list[str]:
    """By the alphabet, in which our prefix does not count: some names get it only when the table is written."""
    return sorted(names, key=lambda name: (_bare(name), len(name)))


def _bare(name: str) -> str:
    while name.startswith(f"{RESULT}_"):
        name = name.removeprefix(f"{RESULT}_")
    return name


# ---------------------------------------------------------------------------------------------- one column


def column_of(name: str, values: Any, kinds: set[type] | None = None) -> Column:
    """A field and its array from a list (``kinds``: of these types) or a NumPy array. Raises :class:`Unencodable`,
    listing every culprit."""
    if len(values) <= FEW_ROWS and (bad := _too_large(values)):
        raise Unencodable(bad)
    try:
        found = column_of_ndarray(values) if isinstance(values, np.ndarray) and len(values) else None
        kind, array = found or build(values.tolist() if isinstance(values, np.ndarray) else values, 0, kinds)
    except MemoryError:
        raise
    except Exception as error:  # one of build's refusals, or what a value's own methods raise
        raise Unencodable(_culprits(values) or _all(values, error)) from error
    return field_of(name, kind), array


def _too_large(values: Sequence[Any]) -> list[tuple[int, str]]:
    sizes = (
        value.nbytes if isinstance(value, np.ndarray) else len(value) if type(value) in _FLAT else 0 for value in values
    )
    bad = {place: too_large(size) for place, size in enumerate(sizes) if size > LARGEST_VALUE_BYTES}
    long = {place: len(value) for place, value in enumerate(values) if _is_list(value) and len(value) > MOST_ITEMS}
    return sorted(({place: _too_long(length) for place, length in long.items()} | bad).items())


_FLAT = (str, bytes, bytearray)


def _is_list(value: Any) -> bool:
    """Whether it becomes a list of a cell, and not bytes."""
    return value.ndim == 1 if isinstance(value, np.ndarray) else isinstance(value, list | tuple)


def _too_long(length: int) -> str:
    return (
        f"expected lists and arrays of one dimension with at most {MOST_ITEMS:,} items, got {length:,}: return "
        "array[None, :], for arrays of more dimensions are stored as bytes, or several fields, or write it to a file "
        "and return its name"
    )


def too_large(size: int) -> str:
    """What to do about a value of so many bytes."""
    return (
        f"expected values of at most {LARGEST_VALUE_BYTES / 1e9:g} GB, as much as a cell of Parquet holds, got one of "
        f"{size / 1e9:.1f} GB: return it as several fields, or write it to a file and return its name"
    )


def _all(values: Sequence[Any], error: Exception) -> list[tuple[int, str]]:
    return [(position, _words(error)) for position in range(len(values))]


def _culprits(values: Iterable[Any]) -> list[tuple[int, str]]:
    """Those that cannot be stored even alone."""
    found: list[tuple[int, str]] = []
    for position, value in enumerate(values):
        try:
            build([value])
        except MemoryError:
            raise
        except Exception as error:
            found.append((position, f"a {type(value).__name__} cannot be stored in a table: {_words(error)}"))
    return found


def _words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is too deep"
    return str(error) if isinstance(error, REFUSALS) else f"its own methods raise {type(error).__name__}: {error}"
