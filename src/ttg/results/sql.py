"""Questions in SQL about a run of any size, answered by DuckDB from the Parquet parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

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

    ``InputError`` for a query that DuckDB refuses, and when it is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise InputError("SQL is answered by DuckDB, which is not installed: pip install duckdb") from error
    connection = duckdb.connect()
    if paths := [str(path) for path in part_paths(folder.results)]:
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


def stream(answer: Answer) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Schema and rows of an answer, in tables of bounded size, each computed when it is asked for."""
    reader = pa.RecordBatchReader.from_stream(answer)
    return reader.schema, _tables(reader)


def _tables(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    try:
        for batch in reader:
            yield pa.Table.from_batches([batch])
    except pa.ArrowException as error:
        raise InputError(f"DuckDB stopped in the middle of the answer: {error}") from error
