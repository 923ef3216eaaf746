"""Readers of files of rows: one pass to learn the shape, then any block by its number."""

from __future__ import annotations

import contextlib
import csv
import datetime
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ttg.errors import SpaceError
from ttg.space.values import INTEGERS, MAX_BYTES, plain, plain_values

BLOCK_ROWS = 4096
MANY_ROWS = 1024


class BlockReader(Protocol):
    """``starts`` holds the number of the first row of each block."""

    names: list[str]
    count: int
    starts: list[int]

    def __init__(self, path: Path) -> None: ...

    def read(self, block: int) -> dict[str, list[Any]]:
        """The rows of one block, as columns of plain values."""


class _Lines:
    """Lines of text from a binary file; ``position`` is the byte behind the last one handed out."""

    def __init__(self, path: Path, position: int = 0, errors: str = "strict", number: int = 0) -> None:
        self.position = position
        self._errors = errors
        self.number = number
        self._path = path

    def __iter__(self) -> Iterator[str]:
        with self._path.open("rb") as file:
            file.seek(self.position)
            for line in file:
                encoding = "utf-8-sig" if self.position == 0 else "utf-8"
                self.position += len(line)
                self.number += 1
                yield line.decode(encoding, self._errors)


# ---------------------------------------------------------------------------------------------- CSV

_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
_FLOAT = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_WORDS = {"": "empty", "true": "bool", "false": "bool", "nan": "float", "inf": "float", "-inf": "float"}


def kind_of(cell: str) -> str:
    """``int``, ``float``, ``bool``, ``empty`` or ``text``; ``huge`` for a number that no float can be. Numbers with
    leading zeros are text."""
    text = cell.strip()
    word = _WORDS.get(text.lower())
    if word:
        return word
    if _INTEGER.fullmatch(text):
        return "int" if len(text) < 25 and int(text) in INTEGERS else "text"
    if _FLOAT.fullmatch(text):
        return "float" if math.isfinite(float(text)) else "huge"
    return "text"


# A whole column at once: cells joined by line breaks, with so few digits that none can be out of range.
_INTEGERS = re.compile(r"(?:[+-]?(?:0|[1-9]\d{0,17})(?:\n|\Z))*+", re.ASCII)
_FLOATS = re.compile(r"(?:[+-]?(?:0|[1-9]\d{0,17})(?:\.\d*)?(?:[eE][+-]?\d\d?)?(?:\n|\Z))*+", re.ASCII)


def kinds_of(column: Sequence[str]) -> set[str]:
    """The kinds of a column's cells, and ``float`` alone for floats among which there may be integers."""
    joined = "\n".join(column)
    if column and column[-1] and joined.count("\n") == len(column) - 1:
        if _INTEGERS.fullmatch(joined):
            return {"int"}
        if _FLOATS.fullmatch(joined):
            return {"float"}
    return set(map(kind_of, set(column)))


class CsvReader:
    """Comma, semicolon or tab separated, first row names; quoted cells may hold line breaks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._delimiter = _delimiter(path)
        self._offsets = array("q")
        self.starts: list[int] = []
        self.count = 0
        lines = _Lines(path)
        records = self._records(lines)
        self.names = [name.strip() for name in next(records, [])]
        if not self.names:
            raise SpaceError(f"{path}: is empty: expected a first line with the names of the parameters")
        self._kinds = self._scan(lines.position, lines.number)

    def _records(self, lines: _Lines) -> Iterator[list[str]]:
        try:
            yield from filter(None, csv.reader(lines, delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            why = "expected lines that end with LF or CRLF, got CR" if "universal-newline" in str(error) else error
            raise SpaceError(f"{self._path}, line {lines.number}: {why}") from error

    def _scan(self, position: int, number: int) -> list[str]:
        seen: list[set[str]] = [set() for _ in self.names]
        while True:
            block, behind = self._block(position, number)
            if not block:
                return [self._decide(name, kinds) for name, kinds in zip(self.names, seen, strict=True)]
            self._check_lengths(block)
            self._offsets.append(position)
            self.starts.append(self.count)
            self.count += len(block)
            position, number = behind
            for kinds, column in zip(seen, zip(*block, strict=True), strict=True):
                kinds.update(() if "text" in kinds else kinds_of(column))

    def _block(self, position: int, number: int = 0) -> tuple[list[list[str]], tuple[int, int]]:
        """The records from a byte on, before which there are ``number`` lines, and the same two behind them. Lines
        without quotes need no parser."""
        with self._path.open("rb") as file:
            file.seek(position)
            data = b"".join(islice(file, BLOCK_ROWS))
        if data and not (b'"' in data or b"\r" in data or b"\n\n" in data or data.startswith(b"\n")):
            lines = data.removesuffix(b"\n").decode().split("\n")
            return [line.split(self._delimiter) for line in lines], (position + len(data), number + len(lines))
        parsed = _Lines(self._path, position, number=number)
        return list(islice(self._records(parsed), BLOCK_ROWS)), (parsed.position, parsed.number)

    def _check_lengths(self, block: list[list[str]]) -> None:
        expected = len(self.names)
        if set(map(len, block)) != {expected}:
            number, row = next((n, row) for n, row in enumerate(block, self.count + 1) if len(row) != expected)
            raise SpaceError(f"{self._path}, row {number}: expected {expected} cells, got {len(row)}")

    def _decide(self, name: str, kinds: set[str]) -> str:
        filled = kinds - {"empty"}
        if "huge" in filled and filled <= {"int", "float", "huge"}:
            raise SpaceError(
                f"{self._path}, column {name!r}: holds a number beyond what a float can be: write inf, or text"
            )
        if filled == {"int", "float"}:
            return "float"
        return next(iter(filled)) if len(filled) == 1 else "text" if filled else "empty"

    def read(self, block: int) -> dict[str, list[Any]]:
        columns = zip(*self._block(self._offsets[block])[0], strict=True)
        named = zip(self.names, self._kinds, columns, strict=True)
        return {name: _converted_column(column, kind) for name, kind, column in named}


def _converted_column(column: Sequence[str], kind: str) -> list[Any]:
    if kind == "text":
        return list(column)
    if kind == "float" and len(column) >= MANY_ROWS and (found := _floats(column)) is not None:
        return found
    if kind in ("int", "float") and all(column):
        with contextlib.suppress(ValueError):  # an empty cell in the shape of spaces
            return list(map(int if kind == "int" else float, column))
    return [_converted(cell, kind) for cell in column]


def _floats(column: Sequence[str]) -> list[float] | None:
    """As ``float`` does, six times as fast; ``None`` where a cell is written in a way that Arrow does not take."""
    import pyarrow as pa

    try:
        found: list[float] = pa.array(column, pa.string()).cast(pa.float64()).to_numpy().tolist()
    except pa.ArrowInvalid:
        return None
    return found


def _converted(cell: str, kind: str) -> Any:
    text = cell.strip()
    if not text:
        return None
    return text.lower() == "true" if kind == "bool" else int(text) if kind == "int" else float(text)


def _delimiter(path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = next(iter(_Lines(path)), "")
    return ";" if ";" in header and "," not in header else ","


# ---------------------------------------------------------------------------------------------- JSONL


class JsonlReader:
    """One JSON object per line, all with the same keys; blank lines are skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets = array("q")
        self.starts: list[int] = []
        self.names: list[str] = []
        self.count = 0
        seen: dict[str, set[type]] = {}
        lines = _Lines(path)
        rows = self._rows(lines)
        while True:
            position = lines.position
            block = list(islice(rows, BLOCK_ROWS))
            if not block:
                break
            self._offsets.append(position)
            self.starts.append(self.count)
            self.count += len(block)
            for name in self.names:
                seen.setdefault(name, set()).update(type(row[name]) for row in block)
        self._floats = {name for name, kinds in seen.items() if kinds - {type(None)} == {int, float}}

    def _rows(self, lines: _Lines) -> Iterator[dict[str, Any]]:
        for line in lines:
            if not line.strip():
                continue
            where = f"{self._path}, line {lines.number}"
            row = _json_value(line, where)
            if not isinstance(row, dict):
                raise SpaceError(f"{where}: expected a JSON object, got {line.strip()[:80]}")
            self.names = self.names or list(row)
            if set(row) != set(self.names):
                raise SpaceError(f"{where}: expected the keys {', '.join(self.names)}, got {', '.join(row)}")
            yield {name: plain(row[name], where) for name in self.names}

    def read(self, block: int) -> dict[str, list[Any]]:
        rows = list(islice(self._rows(_Lines(self._path, self._offsets[block])), BLOCK_ROWS))
        return {name: [self._value(name, row[name]) for row in rows] for name in self.names}

    def _value(self, name: str, value: Any) -> Any:
        if type(value) is int and name in self._floats and value == (near := float(value)):
            return near
        return value


_LARGE = re.compile(r"\d[eE]\+?[1-9]\d\d|\d{309}", re.ASCII)


def _json_value(line: str, where: str) -> Any:
    try:
        if _LARGE.search(line):
            _expect_finite(line, where)
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        import json

        with contextlib.suppress(ValueError):  # Python's own writes NaN, Infinity and halves of surrogate pairs, too
            return json.loads(line)
        raise SpaceError(f"{where}: expected one JSON object per line: {error}") from error


def _expect_finite(line: str, where: str) -> None:
    """Decoders take a number beyond what a float can be for infinity."""
    import json

    def finite(digits: str) -> float:
        if math.isinf(value := float(digits)):
            raise SpaceError(f"{where}: {digits[:40]} is beyond what a float can be: write Infinity, or text")
        return value

    with contextlib.suppress(ValueError):
        json.loads(line, parse_float=finite)


# ---------------------------------------------------------------------------------------------- lines


class LinesReader:
    """One value per line, as in a list of files: a single column, which the user names. Types are as in CSV; bytes that
    are not UTF-8 become what Python makes of them in file names."""

    names: list[str]

    def __init__(self, path: Path) -> None:
        self.names = ["lines"]
        self._path = path
        self._offsets = array("q")
        self.starts: list[int] = []
        self.count = 0
        kinds: set[str] = set()
        lines = _Lines(path, errors="surrogateescape")
        values = _stripped(lines)
        while True:
            position = lines.position
            block = list(islice(values, BLOCK_ROWS))
            if not block:
                break
            if any("\0" in value for value in block):
                raise SpaceError(
                    f"{path}: holds NUL: expected one value per line; --params - < FILE takes `find -print0`"
                )
            self._offsets.append(position)
            self.starts.append(self.count)
            self.count += len(block)
            kinds |= kinds_of(block)
        self._kind = "float" if kinds == {"int", "float"} else kinds.pop() if len(kinds) == 1 else "text"
        if self._kind == "huge":
            self._kind = "text"

    def read(self, block: int) -> dict[str, list[Any]]:
        lines = _Lines(self._path, self._offsets[block], errors="surrogateescape")
        column = list(islice(_stripped(lines), BLOCK_ROWS))
        return {self.names[0]: _converted_column(column, self._kind)}


def _stripped(lines: Iterable[str]) -> Iterator[str]:
    """Lines without their ends; blank ones are skipped."""
    return filter(str.strip, (line.rstrip("\r\n") for line in lines))


# ---------------------------------------------------------------------------------------------- Parquet


class ParquetReader:
    """A Parquet file; one row group is held in memory, as Arrow columns."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        try:
            # Arrow takes no name that is not UTF-8; opened, such a file is as good as any.
            self._file = pq.ParquetFile(path if str(path).isprintable() else path.open("rb"), memory_map=True)
        except pa.ArrowException as error:
            raise SpaceError(f"{path}: cannot be read as Parquet: {error}") from error
        self.names = list(self._file.schema_arrow.names)
        self.count = 0
        self.starts: list[int] = []
        self._places: list[tuple[int, int]] = []
        self._group: tuple[int, Any] = (-1, None)
        for group in range(self._file.num_row_groups):
            for first in range(0, self._table(group).num_rows, BLOCK_ROWS):
                self.starts.append(self.count + first)
                self._places.append((group, first))
            self.count += self._table(group).num_rows

    def _table(self, group: int) -> Any:
        if self._group[0] != group:
            self._group = (group, self._file.read_row_group(group))
        return self._group[1]

    def read(self, block: int) -> dict[str, list[Any]]:
        group, first = self._places[block]
        rows = self._table(group).slice(first, BLOCK_ROWS)
        columns = [(name, rows.column(name), f"{self._path}, column {name!r}") for name in self.names]
        return {name: plain_values(values_of(column, where), where) for name, column, where in columns}

    def check(self, names: Sequence[str]) -> None:
        """``SpaceError`` for a value that cannot be a parameter: half of a run is no place to find it."""
        for group in range(self._file.num_row_groups):
            for name in names:
                column = self._file.read_row_group(group, columns=[name]).column(name)
                _check(column, f"{self._path}, column {name!r}")


def _check(column: Any, where: str) -> None:
    """Of numbers and times the least and the greatest tell, once they are Python's; of text the longest. What has no
    such order is converted as it would be later."""
    import pyarrow as pa
    from pyarrow import compute

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        longest = compute.max(compute.binary_length(column)).as_py() or 0
        column = column.slice(0, 0) if longest <= MAX_BYTES else column
    elif pa.types.is_temporal(kind) or pa.types.is_uint64(kind):
        ends = compute.min_max(_in_microseconds(column, where))
        column = pa.concat_arrays([pa.repeat(ends[end], 1) for end in ("min", "max")])
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _check(compute.list_flatten(column), where)
    elif pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return None
    for start in range(0, len(column), BLOCK_ROWS):
        plain_values(values_of(column.slice(start, BLOCK_ROWS), where), where)
    return None


def values_of(column: Any, where: str) -> list[Any]:
    """The Python values of an Arrow column: times with microseconds, as Python has them, and time zones by name."""
    zone = getattr(column.type, "tz", None)
    column = _in_microseconds(column, where)
    try:
        values = list_of(column)
        return values if zone is None else [value and value.astimezone(_zone(zone)) for value in values]
    except (OverflowError, ValueError) as error:
        raise SpaceError(f"{where}: {_BEYOND} ({error})") from error


def _in_microseconds(column: Any, where: str) -> Any:
    """A column of times as Python has them, any other as it is."""
    import pyarrow as pa

    kind = column.type
    fine = {"timestamp": pa.timestamp("us", getattr(kind, "tz", None)), "duration": pa.duration("us")}
    wanted = pa.time64("us") if pa.types.is_time64(kind) else fine.get(str(kind).partition("[")[0])
    try:
        return column.cast(wanted) if wanted else column
    except pa.ArrowInvalid as error:
        raise SpaceError(f"{where}: {_TOO_FINE if 'lose data' in str(error) else _BEYOND} ({error})") from error


_TOO_FINE = (
    "holds times with nanoseconds, which Python's datetime lacks: round them to microseconds, or give the column as "
    "integers"
)
_BEYOND = "holds times beyond those of Python, which knows the years 1 to 9999: give the column as integers or text"


def list_of(column: Any) -> list[Any]:
    """As the column's ``to_pylist``, which looks at each value by itself; for numbers NumPy is ten times as fast."""
    import pyarrow as pa

    kind = column.type
    is_numbers = pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind)
    values: list[Any] = column.to_numpy().tolist() if is_numbers and not column.null_count else column.to_pylist()
    return values


def _zone(name: str) -> datetime.tzinfo:
    if re.fullmatch(r"[+-]\d\d:\d\d", name):
        return datetime.datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo or datetime.UTC
    if name in ("UTC", "Z"):
        return datetime.UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
