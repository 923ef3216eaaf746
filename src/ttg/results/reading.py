"""Reading a run back, finished or not: ordered by index, lazily, in bounded memory where the caller wants that.

Anything else that reads Parquet can read the ``results`` folder of a finished run just as well: docs/results.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ttg.errors import InputError
from ttg.results.arrow import pa
from ttg.results.dataset import part_paths, read_parts
from ttg.results.dead_letters import Cause, Story, causes, dead_letters, stories
from ttg.results.export import write_windows
from ttg.results.folder import RunFolder
from ttg.results.rewrite import merged_schema
from ttg.results.selection import WINDOW_ROWS, Indices, Selection, select
from ttg.results.values import rows_of

if TYPE_CHECKING:
    import pandas
    from pyarrow.dataset import Dataset as Dataset

ITERATED_ROWS = 10_000
ARROW_COPIES, PANDAS_COPIES = 1, 2  # of the table, at the peak

Table = pa.Table
RecordBatch = pa.RecordBatch

__all__ = [
    "Cause",
    "Indices",
    "RecordBatch",
    "Selection",
    "Story",
    "Table",
    "batches",
    "causes",
    "columns_of",
    "dataframe",
    "dataset",
    "dead_letters",
    "export",
    "read",
    "row",
    "rows",
    "select",
    "stories",
    "table",
]


def table(
    folder: RunFolder,
    columns: Sequence[str] | None = None,
    indices: Indices | None = None,
    limit: int | None = None,
) -> pa.Table:
    """The rows of a run, ordered by index, chosen as by :func:`select`.

    ``InputError`` for a column or an index that the run has not, and for a table that does not fit into memory.
    """
    return select(folder, columns, indices, limit).gathered(ARROW_COPIES)


def dataframe(
    folder: RunFolder,
    columns: Sequence[str] | None = None,
    indices: Indices | None = None,
    limit: int | None = None,
) -> pandas.DataFrame:
    """As :func:`table`, for pandas. ``InputError`` when pandas is not installed."""
    try:
        import pandas  # noqa: F401 - its absence is reported here, not somewhere inside Arrow
    except ImportError as error:
        raise InputError(
            "a DataFrame needs pandas: pip install 'ttg-compute[pandas]', or use the Arrow table"
        ) from error
    from ttg.results.frames import frame_of

    return frame_of(select(folder, columns, indices, limit).gathered(PANDAS_COPIES))


def row(folder: RunFolder, index: int) -> dict[str, Any]:
    """The row of one index, with the values that the function returned; ``InputError`` when there is none."""
    found = [row for batch in table(folder, indices=index).to_batches() for row in rows_of(batch)]
    if not found:
        raise InputError(
            f"index {index} has no result: it is a dead letter, which `ttg failed show {index} {folder.spec.run}` "
            "tells about, or the run is not finished"
        )
    return found[0]


def rows(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """All rows, ordered by index, with the values that the function returned, in bounded memory."""
    for window in select(folder).windows():
        for batch in window.to_batches(ITERATED_ROWS):
            yield from rows_of(batch)


def batches(
    folder: RunFolder, columns: Sequence[str] | None = None, indices: Indices | None = None, rows: int = WINDOW_ROWS
) -> Iterator[pa.RecordBatch]:
    """As :func:`table`, in record batches of at most ``rows`` rows, each read when it is asked for."""
    if rows < 1:
        raise InputError(f"rows: expected the size of a batch, from 1 on; got {rows}")
    chosen = select(folder, columns, indices)
    return (
        batch for window in chosen.windows() for batch in window.combine_chunks().to_batches(rows) if batch.num_rows
    )


def dataset(folder: RunFolder) -> Dataset:
    """The parts of a *finished* run as a lazy Arrow dataset: filters and column selection happen while reading.

    Rows are in no particular order. Parts of an unfinished run may still disagree about types.
    """
    import pyarrow.dataset  # imports pandas, which takes longer than reading a thousand rows

    paths = [str(path) for path in part_paths(folder.results)]
    schema = merged_schema([part.schema for part in read_parts(folder.results)], folder.spec.names)
    return pyarrow.dataset.dataset(paths, schema=schema, format="parquet")


def columns_of(folder: RunFolder) -> list[str]:
    """The names of the table's columns."""
    return list(merged_schema([part.schema for part in read_parts(folder.results)], folder.spec.names).names)


def read(
    folder: RunFolder,
    columns: Sequence[str] | None = None,
    indices: Indices | None = None,
    limit: int | None = None,
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema and the rows, ordered by index, in tables of bounded size. Only what is needed is read."""
    chosen = select(folder, columns, indices, limit)
    return chosen.schema, chosen.windows()


def export(
    folder: RunFolder,
    format: str,
    file: BinaryIO,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
    indices: Indices | None = None,
) -> int:
    """Write the table in one of :data:`ttg.results.export.FORMATS`; returns the number of rows."""
    schema, windows = read(folder, columns, indices, limit)
    return write_windows(format, file, schema, windows)
