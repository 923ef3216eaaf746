"""From buffered payloads to a part: index and parameter columns, one schema, slices of bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap64

from ttg.messages import Ranges, ResultHeader, split_ranges
from ttg.results.dataset import ROW_GROUP_ROWS, write_part
from ttg.results.encode import PARAMETER_PREFIX, SECONDS, column_of, is_json
from ttg.results.schema import INDEX, TRAILING, conform, merge_fields, parameter_column, result_fields, retyping

Columns = dict[str, tuple[pa.Field, Any]]
Source = Any  # a space whose ``arrays(indices)`` gives the parameters


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one message: those of ``ranges``, in this order. ``fields`` are its results: (name in the batch, field)."""

    ranges: Ranges
    batch: pa.RecordBatch
    fields: tuple[tuple[str, pa.Field], ...]
    attempt: int
    worker: str
    call_seconds: float

    @classmethod
    def of(cls, header: ResultHeader, batch: pa.RecordBatch, names: Sequence[str]) -> Piece:
        """All rows of a message; ``names`` are the run's parameters."""
        fields = tuple(result_fields(batch.schema, names))
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

    def seconds(self) -> Any:
        """Seconds of each call: as measured, or the mean of the task."""
        if SECONDS in self.batch.schema.names:
            return self.batch.column(SECONDS).to_numpy(zero_copy_only=False)
        return np.full(self.rows, self.call_seconds, np.float32)

    @property
    def shape(self) -> list[pa.Field]:
        """The fields of the results."""
        return [field for _, field in self.fields]

    def results(self) -> Columns:
        """The result columns by their names in the table."""
        return {field.name: (field, self.batch.column(name)) for name, field in self.fields}


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


def write_rows(path: Path, pieces: Iterable[Piece], names: Sequence[str], source: Source | None) -> None:
    """Write ``pieces`` as one part, about in the order of their indices. Without ``source`` the parameters are taken
    from the batches. Raises ``StorageError``."""
    ordered = sorted(pieces, key=lambda piece: piece.ranges[0])
    shapes = {
        tuple((field.name, field.type, is_json(field)) for field in piece.shape): piece.shape for piece in ordered
    }
    results = merge_fields(shapes.values())
    retyping(lambda wider: _write(path, ordered, results, names, source, wider))


def _write(
    path: Path,
    pieces: Sequence[Piece],
    results: Sequence[pa.Field],
    names: Sequence[str],
    source: Source | None,
    wider: Mapping[str, pa.Field],
) -> None:
    """Parameters have the type of the first slice until a later one asks for a wider one."""
    slices = _slices(pieces)
    first = next(slices)
    parameters = _parameters(first, names, source)
    fields = [wider.get(field.name, field) for field in (*(field for field, _ in parameters.values()), *results)]
    schema = pa.schema([INDEX, *fields, *TRAILING])
    tables = chain(
        [_table(first, parameters, schema)],
        (_table(some, _parameters(some, names, source), schema) for some in slices),
    )
    write_part(path, schema, tables, settled_by(pieces))


def _table(pieces: Sequence[Piece], parameters: Columns, schema: pa.Schema) -> pa.Table:
    rows = sum(piece.rows for piece in pieces)
    inner = list(schema)[1 : -len(TRAILING)]
    known = [field for field in inner if field.name in parameters]
    results = inner[len(known) :]
    columns = [
        _indices(pieces),
        *conform(parameters, known, rows),
        *_results(pieces, results),
        np.concatenate([piece.seconds() for piece in pieces]),
        np.repeat(*_per_piece(pieces, [piece.attempt for piece in pieces], np.int32)),
        _workers(pieces),
    ]
    return pa.table(columns, schema=schema)


def _indices(pieces: Sequence[Piece]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return index_array(tuple(pair for piece in pieces for pair in piece.ranges))


def _per_piece(pieces: Sequence[Piece], values: Sequence[int], dtype: type) -> tuple[Any, Any]:
    return np.array(values, dtype), [piece.rows for piece in pieces]


def _workers(pieces: Sequence[Piece]) -> pa.DictionaryArray:
    codes: dict[str, int] = {}
    numbers = [codes.setdefault(piece.worker, len(codes)) for piece in pieces]
    return pa.DictionaryArray.from_arrays(
        np.repeat(*_per_piece(pieces, numbers, np.int32)), pa.array(codes, pa.string())
    )


def _results(pieces: Sequence[Piece], fields: Sequence[pa.Field]) -> list[pa.ChunkedArray]:
    arrays = [conform(piece.results(), fields, piece.rows) for piece in pieces]
    return [
        pa.chunked_array(chunks, field.type) for chunks, field in zip(zip(*arrays, strict=True), fields, strict=True)
    ]


def _parameters(pieces: Sequence[Piece], names: Sequence[str], source: Source | None) -> Columns:
    if source is not None:
        values = source.arrays(_indices(pieces))
        return {parameter_column(name): column_of(parameter_column(name), values[name]) for name in names}
    return _carried_parameters(pieces, names)


def _carried_parameters(pieces: Sequence[Piece], names: Sequence[str]) -> Columns:
    """The parameters of a space that cannot be computed: they travelled with the rows."""
    carried = [
        {
            parameter_column(name): (
                piece.batch.schema.field(PARAMETER_PREFIX + name).with_name(parameter_column(name)),
                piece.batch.column(PARAMETER_PREFIX + name),
            )
            for name in names
        }
        for piece in pieces
    ]
    fields = merge_fields([field for field, _ in columns.values()] for columns in carried)
    arrays = [conform(columns, fields, piece.rows) for columns, piece in zip(carried, pieces, strict=True)]
    return {
        field.name: (field, pa.chunked_array(chunks, field.type))
        for field, chunks in zip(fields, zip(*arrays, strict=True), strict=True)
    }


def _slices(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in groups of one row group, cutting those that reach across."""
    group: list[Piece] = []
    room = ROW_GROUP_ROWS
    for piece in pieces:
        while piece.rows >= room:
            head, piece = piece.split(room)
            yield [*group, head]
            group, room = [], ROW_GROUP_ROWS
        if piece.rows:
            group.append(piece)
            room -= piece.rows
    if group:
        yield group
