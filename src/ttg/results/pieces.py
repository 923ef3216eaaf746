"""From buffered payloads to a part: index and parameter columns, one schema, slices of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, groupby
from typing import Any

import numpy as np
from pyroaring import BitMap64

from ttg.messages import Ranges, ResultHeader, split_ranges
from ttg.messages.parameters import storable
from ttg.results.arrow import pa
from ttg.results.dataset import ROW_GROUP_ROWS
from ttg.results.encode import PARAMETER_PREFIX, SECONDS, column_of
from ttg.results.schema import (
    INDEX,
    TRAILING,
    NamedFields,
    conform,
    merge_fields,
    parameter_column,
    result_fields,
    retyping,
    shape_of,
)

Columns = dict[str, tuple[pa.Field, Any]]
Write = Callable[[pa.Schema, Iterable[pa.Table], BitMap64], None]
Source = Any  # a space whose ``arrays(indices)`` gives the parameters


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one message: those of ``ranges``, in this order. ``fields``: (name in the batch, field of the table)."""

    ranges: Ranges
    batch: pa.RecordBatch
    fields: NamedFields
    attempt: int
    worker: str
    call_seconds: float

    @classmethod
    def of(cls, header: ResultHeader, batch: pa.RecordBatch, names: Sequence[str]) -> Piece:
        """All rows of a message; ``names`` are the run's parameters."""
        fields = result_fields(shape_of(batch.schema), tuple(names))
        return cls(header.ranges, batch, fields, header.attempt, header.worker, header.call_seconds)

    @classmethod
    def empty(cls, header: ResultHeader) -> Piece:
        """A message without rows."""
        batch = pa.record_batch([], schema=pa.schema([]))
        return cls((), batch, (), header.attempt, header.worker, header.call_seconds)

    @property
    def rows(self) -> int:
        """How many rows this is."""
        return int(self.batch.num_rows)

    def only(self, ranges: Ranges) -> Piece:
        """Those of the rows that ``ranges`` (a part of ours) asks for."""
        wanted = np.isin(index_array(self.ranges), index_array(ranges), assume_unique=True)
        return replace(self, ranges=ranges, batch=self.batch.filter(pa.array(wanted)))

    def split(self, count: int) -> tuple[Piece, Piece]:
        """The first ``count`` rows, and the rest."""
        head, tail = split_ranges(self.ranges, count)
        return replace(self, ranges=head, batch=self.batch.slice(0, count)), replace(
            self, ranges=tail, batch=self.batch.slice(count)
        )

    @property
    def timed(self) -> bool:
        """Whether each call was timed by itself."""
        return SECONDS in self.batch.schema.names

    def seconds(self) -> Any:
        """Seconds of each call: as measured, or the mean of the task."""
        if self.timed:
            return self.batch.column(SECONDS).to_numpy(zero_copy_only=False)
        return np.full(self.rows, self.call_seconds, np.float32)


def index_array(ranges: Ranges) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Every index of ``ranges``."""
    if not ranges:
        return np.empty(0, np.int64)
    return np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in ranges])


def settled_by(pieces: Iterable[Piece]) -> BitMap64:
    """The indices of all ``pieces``."""
    settled = BitMap64()
    for piece in pieces:
        for start, stop in piece.ranges:
            settled.add_range(start, stop)
    return settled


# ---------------------------------------------------------------------------------------------- writing a part


def write_rows(write: Write, pieces: Iterable[Piece], names: Sequence[str], source: Source | None) -> None:
    """``write`` one table of ``pieces``, about in the order of their indices. Without ``source`` the parameters are
    taken from the batches."""
    ordered = sorted(pieces, key=lambda piece: piece.ranges[0])
    shapes = {id(piece.fields): [field for _, field in piece.fields] for piece in ordered}
    results = merge_fields(shapes.values())
    retyping(lambda wider: _write(write, ordered, results, names, source, wider))


def tables_of(pieces: Iterable[Piece], names: Sequence[str], source: Source | None, rows: int) -> Iterator[pa.Table]:
    """``pieces``, in their order, as tables of at most ``rows`` rows; each has the schema that it needs."""
    for part in _slices(pieces, rows):
        found: list[pa.Table] = []

        def keep(schema: pa.Schema, tables: Iterable[pa.Table], indices: BitMap64, found: list[Any] = found) -> None:
            found[:] = tables

        write_rows(keep, part.pieces, names, source)
        yield from found


def _write(
    write: Write,
    pieces: Sequence[Piece],
    results: Sequence[pa.Field],
    names: Sequence[str],
    source: Source | None,
    wider: Mapping[str, pa.Field],
) -> None:
    """Parameters have the type of the first slice until a later one asks for a wider one."""
    first = [field for field, _ in next(_slices(pieces)).parameters(names, source).values()]
    fields = [wider.get(field.name, field) for field in (*first, *results)]
    schema = pa.schema([INDEX, *fields, *TRAILING])
    tables = (_table(part, part.parameters(names, source), schema) for part in _slices(pieces))
    write(schema, tables, settled_by(pieces))


@dataclass(frozen=True)
class Slice:
    """The rows of one row group."""

    pieces: Sequence[Piece]

    @property
    def rows(self) -> int:
        """How many rows this is."""
        return sum(piece.rows for piece in self.pieces)

    @cached_property
    def indices(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The index of each row."""
        return index_array(tuple(pair for piece in self.pieces for pair in piece.ranges))

    def parameters(self, names: Sequence[str], source: Source | None) -> Columns:
        """The parameter columns, computed by ``source`` or as they travelled with the rows."""
        if source is None:
            return _carried_parameters(self.pieces, names)
        values = source.arrays(self.indices)
        return {parameter_column(name): column_of(parameter_column(name), storable(values[name])) for name in names}


def _slices(pieces: Iterable[Piece], rows: int | None = None) -> Iterator[Slice]:
    """Pieces in groups of one row group, or of ``rows``, cutting those that reach across."""
    rows = rows or ROW_GROUP_ROWS
    group: list[Piece] = []
    room = rows
    for piece in pieces:
        while piece.rows >= room:
            head, piece = piece.split(room)
            yield Slice([*group, head])
            group, room = [], rows
        if piece.rows:
            group.append(piece)
            room -= piece.rows
    if group:
        yield Slice(group)


def _table(part: Slice, parameters: Columns, schema: pa.Schema) -> pa.Table:
    inner = list(schema)[1 : -len(TRAILING)]
    known, results = inner[: len(parameters)], inner[len(parameters) :]
    pieces = part.pieces
    columns = [
        part.indices,
        *conform(parameters, known, part.rows),
        *_results(pieces, results),
        _seconds(pieces),
        _repeated([piece.attempt for piece in pieces], pieces, np.int32),
        _workers(pieces),
    ]
    return pa.table(columns, schema=schema)


def _repeated(values: Sequence[float], pieces: Sequence[Piece], dtype: type) -> np.ndarray[Any, Any]:
    """One value per piece, for each of its rows."""
    return np.repeat(np.array(values, dtype), [piece.rows for piece in pieces])


def _seconds(pieces: Sequence[Piece]) -> np.ndarray[Any, Any]:
    if any(piece.timed for piece in pieces):
        return np.concatenate([piece.seconds() for piece in pieces])
    return _repeated([piece.call_seconds for piece in pieces], pieces, np.float32)


def _workers(pieces: Sequence[Piece]) -> pa.DictionaryArray:
    codes: dict[str, int] = {}
    numbers = [codes.setdefault(piece.worker, len(codes)) for piece in pieces]
    indices = pa.array(_repeated(numbers, pieces, np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array(codes, pa.string()), safe=False)


def _results(pieces: Sequence[Piece], fields: Sequence[pa.Field]) -> list[pa.ChunkedArray]:
    """Neighbours of one shape are converted together: a message may hold a single row."""
    groups = [list(alike) for _, alike in groupby(pieces, key=lambda piece: id(piece.fields))]
    converted = [conform(_columns(alike), fields, sum(piece.rows for piece in alike)) for alike in groups]
    return [_joined(values, field.type) for values, field in zip(zip(*converted, strict=True), fields, strict=True)]


def _columns(alike: Sequence[Piece]) -> Columns:
    """The result columns of pieces of one shape, by their names in the table."""
    return {
        field.name: (field, pa.chunked_array([piece.batch.column(name) for piece in alike], field.type))
        for name, field in alike[0].fields
    }


def _joined(values: Iterable[Any], kind: pa.DataType) -> pa.ChunkedArray:
    chunks = (part.chunks if isinstance(part, pa.ChunkedArray) else [part] for part in values)
    return pa.chunked_array(chain.from_iterable(chunks), kind)


def _carried_parameters(pieces: Sequence[Piece], names: Sequence[str]) -> Columns:
    """The parameters of a space that cannot be computed: they travelled with the rows."""
    carried = [_carried_by(piece, names) for piece in pieces]
    fields = merge_fields([field for field, _ in columns.values()] for columns in carried)
    converted = [conform(columns, fields, piece.rows) for columns, piece in zip(carried, pieces, strict=True)]
    joined = [_joined(values, field.type) for values, field in zip(zip(*converted, strict=True), fields, strict=True)]
    return {field.name: (field, values) for field, values in zip(fields, joined, strict=True)}


def _carried_by(piece: Piece, names: Sequence[str]) -> Columns:
    columns: Columns = {}
    for name in names:
        field = piece.batch.schema.field(PARAMETER_PREFIX + name).with_name(parameter_column(name))
        columns[field.name] = (field, piece.batch.column(PARAMETER_PREFIX + name))
    return columns
