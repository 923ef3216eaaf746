"""When the parts of a run disagree about their columns: one schema for all, rewriting only those that differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from ttg.results.arrow import pa
from ttg.results.dataset import ROW_GROUP_ROWS, Part, read_parts, write_part
from ttg.results.schema import INDEX, TRAILING, conform, distinct, merge_fields, parameter_column, retyping, same_type


def unify_parts(directory: Path, names: Sequence[str]) -> list[Part]:
    """Give all parts of ``directory`` the same schema, and return them; ``names`` are the run's parameters.

    Each part is replaced atomically, in bounded memory. An interruption leaves parts that disagree, but lose nothing:
    calling again completes the work.
    """
    parts = read_parts(directory)
    if all(_agree(part.schema, parts[0].schema) for part in parts):
        return parts
    retyping(lambda wider: _unify(read_parts(directory), names, wider))
    return read_parts(directory)


def _unify(parts: Sequence[Part], names: Sequence[str], wider: Mapping[str, pa.Field]) -> None:
    schema = merged_schema([part.schema for part in parts], names, wider)
    for part in parts:
        if not _agree(part.schema, schema):
            write_part(part.path, schema, _conformed(part, schema), part.indices)


def merged_schema(
    schemas: Iterable[pa.Schema], names: Sequence[str], wider: Mapping[str, pa.Field] | None = None
) -> pa.Schema:
    """The schema that all of ``schemas`` fit in."""
    wider = wider or {}
    shapes = distinct(list(schema)[1 : -len(TRAILING)] for schema in schemas)
    parameters = {parameter_column(name) for name in names}
    known = merge_fields([field for field in shape if field.name in parameters] for shape in shapes)
    results = merge_fields([field for field in shape if field.name not in parameters] for shape in shapes)
    return pa.schema([INDEX, *(wider.get(field.name, field) for field in (*known, *results)), *TRAILING])


def _agree(a: pa.Schema, b: pa.Schema) -> bool:
    return a.names == b.names and all(map(same_type, a, b))


def _conformed(part: Part, schema: pa.Schema) -> Iterator[pa.Table]:
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(ROW_GROUP_ROWS):
            columns = {field.name: (field, batch.column(field.name)) for field in part.schema}
            yield pa.table(conform(columns, schema, batch.num_rows), schema=schema)
