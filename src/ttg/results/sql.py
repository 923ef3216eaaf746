"""Questions in SQL about a run of any size, answered by DuckDB from the Parquet parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from ttg.errors import InputError
from ttg.results.arrow import pa
from ttg.results.dataset import part_paths
from ttg.results.folder import RunFolder
from ttg.results.selection import select

if TYPE_CHECKING:
    import duckdb

    Answer = duckdb.DuckDBPyRelation

TABLE = "results"


def sql(folder: RunFolder, query: str) -> Answer:
    """The answer to ``query``, in which the run's table is called ``results``; nothing is computed before it is asked
    for (``.df()``, ``.fetchall()``, ``.to_arrow_table()``, …).

    ``InputError`` for a query that DuckDB refuses, for columns that SQL cannot tell apart, and when it is not
    installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise InputError("SQL is answered by DuckDB, which is not installed: pip install duckdb") from error
    connection = duckdb.connect()
    if paths := [str(path) for path in part_paths(folder.results)]:
        _check_names(paths)
        connection.read_parquet(paths, union_by_name=True).create_view(TABLE)
    else:
        connection.from_arrow(select(folder).schema.empty_table()).create(TABLE)
    try:
        answer = connection.sql(query)
    except duckdb.Error as error:
        raise InputError(f"DuckDB refuses the query: {error}") from error
    if answer is None:
        raise InputError(f"expected a query, such as `select … from results`; got {query!r}")
    return answer


def _check_names(paths: Sequence[str]) -> None:
    """SQL ignores case: of two columns that differ in nothing else, DuckDB would show one under both names."""
    by_name: dict[str, str] = {}
    for name in dict.fromkeys(name for path in paths for name in pq.read_schema(path).names):
        other = by_name.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(
                f"expected columns that differ in more than case, which SQL ignores, got {other!r} and {name!r}: "
                "use --where and --sort, which tell them apart, or other names in the function"
            )


def stream(answer: Answer) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Schema and rows of an answer, in tables of bounded size, each computed when it is asked for."""
    reader = pa.RecordBatchReader.from_stream(answer)
    names = _distinct(reader.schema.names)
    schema = pa.schema([field.with_name(name) for name, field in zip(names, reader.schema, strict=True)])
    return schema, _tables(reader, names)


def _distinct(names: Sequence[str]) -> list[str]:
    """``x``, and ``x_1`` where a query asks for it again: as DuckDB itself calls it in a DataFrame."""
    found: dict[str, None] = {}
    for name in names:
        other, number = name, 0
        while other in found or (number and other in names):
            number += 1
            other = f"{name}_{number}"
        found[other] = None
    return list(found)


def _tables(reader: pa.RecordBatchReader, names: Sequence[str]) -> Iterator[pa.Table]:
    try:
        for batch in reader:
            yield pa.Table.from_batches([batch]).rename_columns(names)
    except pa.ArrowException as error:
        raise InputError(f"DuckDB stopped in the middle of the answer: {error}") from error
