"""A run's table in other formats, written as it is read: memory stays bounded whatever the size of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from math import isfinite
from typing import Any, BinaryIO

import msgspec
import numpy as np
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from ttg.errors import InputError
from ttg.results.arrow import pa
from ttg.results.cells import seconds_of
from ttg.results.dataset import layout
from ttg.results.values import column_values, decoded, rows_of

Windows = Iterable[pa.Table]
Progress = Callable[[int], None]

_WIDEST = 40
SINGLE_DIGITS, DOUBLE_DIGITS = 4, 9


def write_windows(
    format: str, file: BinaryIO, schema: pa.Schema, windows: Windows, progress: Progress | None = None
) -> int:
    """Write tables of one ``schema`` to ``file`` in one of :data:`FORMATS`; returns the number of rows, and tells
    ``progress`` from time to time how many there are so far. ``InputError`` for another format.

    ``json`` is an array of objects, ``arrow`` an IPC stream.
    """
    if format not in _WRITERS:
        raise InputError(f"expected a format of {', '.join(FORMATS)}; got {format!r}")
    count = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal count
        for window in windows:
            yield window
            count += window.num_rows
            if progress:
                progress(count)

    _WRITERS[format](file, schema, counted())
    return count


def _write_parquet(file: BinaryIO, schema: pa.Schema, windows: Windows) -> None:
    with pq.ParquetWriter(file, schema, **layout(schema)) as writer:
        for window in windows:
            writer.write_table(window)


def _write_arrow(file: BinaryIO, schema: pa.Schema, windows: Windows) -> None:
    """A stream, not a file: its dictionaries may grow, and it can go through a pipe."""
    with pa.ipc.new_stream(file, schema) as writer:
        for window in windows:
            writer.write_table(window)


def _write_csv(file: BinaryIO, schema: pa.Schema, windows: Windows) -> None:
    flat = pa.schema([(field.name, _flat_type(field.type)) for field in schema])
    with arrow_csv.CSVWriter(file, flat) as writer:
        for window in windows:
            writer.write_table(pa.table(list(map(_flat, schema, window.columns)), schema=flat))


def _flat_type(kind: pa.DataType) -> pa.DataType:
    nested = pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_dictionary(kind)
    return pa.string() if nested or pa.types.is_duration(kind) else kind


def _flat(field: pa.Field, column: pa.ChunkedArray) -> Any:
    """What a CSV cell can hold: text for dictionaries, exact seconds, JSON text for lists, structs and bytes."""
    if _flat_type(column.type) == column.type:
        return column
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    read, write = (column_values, _seconds) if pa.types.is_duration(column.type) else (_json_values, _cell_text)
    values = chain.from_iterable(read(chunk, field) for chunk in column.chunks)
    return pa.array((None if value is None else write(value) for value in values), pa.string())


def _cell_text(value: Any) -> str:
    """Bytes in base64."""
    text = _encode(value).decode()
    return text[1:-1] if text.startswith('"') else text


def _seconds(duration: Any) -> str:
    text = seconds_of(duration).rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def _write_json(file: BinaryIO, schema: pa.Schema, windows: Windows) -> None:
    separator = b"[\n"
    for line in _json_lines(schema, windows):
        file.write(separator + line)
        separator = b",\n"
    file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _write_jsonl(file: BinaryIO, schema: pa.Schema, windows: Windows) -> None:
    for line in _json_lines(schema, windows):
        file.write(line + b"\n")


def _json_lines(schema: pa.Schema, windows: Windows) -> Iterator[bytes]:
    """Strict JSON, which has no NaN and no infinities: they are the texts "NaN", "Infinity" and "-Infinity" here, as
    other formats over JSON have them, so that they differ from null."""
    for batch in _batches(windows):
        columns = map(_json_values, decoded(batch), schema)
        for row in zip(*columns, strict=True):
            yield _encode(dict(zip(schema.names, row, strict=True)))


def _json_values(column: pa.Array, field: pa.Field) -> list[Any]:
    """Only floats, and what may contain some, has to be looked at."""
    values = column_values(column, field)
    looked_at = pa.types.is_floating(field.type) or pa.types.is_nested(field.type) or pa.types.is_duration(field.type)
    looked_at |= bool(field.metadata)
    return list(map(_json_value, values)) if looked_at else values


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _json_value(inner) for name, inner in value.items()}
    if isinstance(value, list | np.ndarray):
        return [_json_value(inner) for inner in (_items(value) if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.timedelta64):
        return f"PT{seconds_of(value)}S"
    if isinstance(value, complex):
        return {"real": _json_value(value.real), "imag": _json_value(value.imag)}
    return value


def _items(array: np.ndarray[Any, Any]) -> list[Any]:
    """Python's own, but for times that it has not: NumPy makes numbers of those."""
    items: list[Any] = array.tolist()
    if array.dtype.kind not in "mM":
        return items
    pairs = zip(items, array, strict=True)
    return [stamp if isinstance(item, int | list) else item for item, stamp in pairs]


def _encode(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=str)
    except UnicodeEncodeError:  # names of files that are not UTF-8: JSON has escapes for what UTF-8 cannot hold
        return json.dumps(msgspec.to_builtins(value, enc_hook=str)).encode()


def _batches(windows: Windows) -> Iterator[pa.RecordBatch]:
    return (batch for window in windows for batch in window.to_batches(1000))


def _rows(windows: Windows) -> Iterator[dict[str, Any]]:
    return chain.from_iterable(map(rows_of, _batches(windows)))


def _write_table(file: BinaryIO, schema: pa.Schema, windows: Windows) -> None:
    """Aligned text; the widths are those of the first thousand rows."""
    digits = [SINGLE_DIGITS if pa.types.is_float32(field.type) else DOUBLE_DIGITS for field in schema]
    rows = (list(map(_cell, row.values(), digits)) for row in _rows(windows))
    head = [row for _, row in zip(range(1000), rows, strict=False)]
    widths = [min(_WIDEST, max(map(len, column))) for column in zip(schema.names, *head, strict=True)]
    for row in chain([schema.names, ["-" * width for width in widths]], head, rows):
        file.write(_line(row, widths))


def _cell(value: Any, digits: int) -> str:
    if value is None:
        return ""
    text = f"{value:.{digits}g}" if isinstance(value, float) else str(value)
    if not text.isprintable():  # a line break would break the table, and what is no Unicode cannot be written
        text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _line(cells: Sequence[str], widths: Sequence[int]) -> bytes:
    return ("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() + "\n").encode()


_WRITERS = {
    "table": _write_table,
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
    "arrow": _write_arrow,
}
FORMATS = tuple(_WRITERS)
