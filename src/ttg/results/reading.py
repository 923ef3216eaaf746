"""Reading a run back, finished or not: ordered by index, lazily, in bounded memory where the caller wants that.

Anything else that reads Parquet can read the ``results`` folder of a finished run just as well: DuckDB
(``select … from 'RUN/results/*.parquet'``), Polars (``scan_parquet``), pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow.dataset as arrow_dataset
import pyarrow.parquet as pq
from pyroaring import BitMap64

from ttg.errors import InputError
from ttg.results.arrow import pa
from ttg.results.dataset import Part, part_paths, read_parts
from ttg.results.export import write_windows
from ttg.results.folder import RunFolder
from ttg.results.letters import Cause, causes, dead_letters
from ttg.results.rewrite import merged_schema
from ttg.results.schema import INDEX, Retype, conform

if TYPE_CHECKING:
    import pandas

WINDOW_ROWS = 1 << 18

Table = pa.Table

__all__ = ["Cause", "Table", "causes", "columns_of", "dataframe", "dataset", "dead_letters", "export", "read", "table"]


def table(
    folder: RunFolder,
    columns: Sequence[str] | None = None,
    indices: Iterable[int] | None = None,
    limit: int | None = None,
) -> pa.Table:
    """The rows of a run, ordered by index: all, or those of ``indices``, or the first ``limit`` of them.

    ``InputError`` for a column that does not exist.
    """
    schema, windows = read(folder, columns, indices, limit)
    return pa.concat_tables([schema.empty_table(), *windows], promote_options="none")


def dataframe(
    folder: RunFolder,
    columns: Sequence[str] | None = None,
    indices: Iterable[int] | None = None,
    limit: int | None = None,
) -> pandas.DataFrame:
    """As :func:`table`, for pandas. ``InputError`` when pandas is not installed."""
    try:
        import pandas  # noqa: F401 - its absence is reported here, not somewhere inside Arrow
    except ImportError as error:
        raise InputError("a DataFrame needs pandas: pip install 'ttg[pandas]', or use the Arrow table") from error
    return table(folder, columns, indices, limit).to_pandas()


def dataset(folder: RunFolder) -> arrow_dataset.Dataset:
    """The parts of a *finished* run as a lazy Arrow dataset: filters and column selection happen while reading.

    Rows are in no particular order. Parts of an unfinished run may still disagree about types.
    """
    paths = [str(path) for path in part_paths(folder.results)]
    schema = merged_schema([part.schema for part in read_parts(folder.results)], folder.spec.names)
    return arrow_dataset.dataset(paths, schema=schema, format="parquet")


def columns_of(folder: RunFolder) -> list[str]:
    """The names of the table's columns."""
    return list(merged_schema([part.schema for part in read_parts(folder.results)], folder.spec.names).names)


def read(
    folder: RunFolder,
    columns: Sequence[str] | None = None,
    indices: Iterable[int] | None = None,
    limit: int | None = None,
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema and the rows, ordered by index, in tables of bounded size. Only what is needed is read."""
    parts = read_parts(folder.results)
    schema = merged_schema([part.schema for part in parts], folder.spec.names)
    wanted = _wanted_rows(parts, indices, limit)
    chosen = _chosen(schema, columns)
    return chosen, (_window(parts, chosen, window) for window in _windows(wanted))


def _chosen(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    if columns is None:
        return schema
    unknown = [name for name in columns if name not in schema.names]
    if unknown:
        raise InputError(f"no column {', '.join(map(repr, unknown))}: the table has {', '.join(schema.names)}")
    return pa.schema([schema.field(name) for name in columns])


def _wanted_rows(parts: Sequence[Part], indices: Iterable[int] | None, limit: int | None) -> BitMap64:
    wanted = BitMap64()
    for part in parts:
        wanted |= part.indices
    if indices is not None:
        wanted &= BitMap64(indices)
    if limit is not None and limit < len(wanted):
        wanted.remove_range(wanted[limit], wanted.max() + 1)
    return wanted


def _windows(wanted: BitMap64) -> Iterator[BitMap64]:
    """The wanted rows in stretches of at most ``WINDOW_ROWS``."""
    count = len(wanted)
    for position in range(0, count, WINDOW_ROWS):
        last = wanted[min(position + WINDOW_ROWS, count) - 1]
        yield wanted & BitMap64(range(wanted[position], last + 1))


def _window(parts: Sequence[Part], schema: pa.Schema, window: BitMap64) -> pa.Table:
    """The rows of one stretch, ordered by index, with the columns of ``schema``."""
    full = schema if INDEX.name in schema.names else pa.schema([INDEX, *schema])
    found = [_rows_of(part, full, here) for part in parts if (here := window & part.indices)]
    rows = pa.concat_tables(found).unify_dictionaries()
    indices = rows[INDEX.name].to_numpy()
    if np.any(indices[1:] < indices[:-1]):
        rows = rows.take(np.argsort(indices, kind="stable"))
    return rows.select(schema.names)


def _rows_of(part: Part, schema: pa.Schema, wanted: BitMap64) -> pa.Table:
    """The ``wanted`` rows of a part, with the columns of ``schema``."""
    with pq.ParquetFile(part.path) as file:
        present = [name for name in schema.names if name in part.schema.names]
        rows = file.read_row_groups(_row_groups(file.metadata, wanted.min(), wanted.max()), present)
    mask = _members(rows[INDEX.name].to_numpy(), wanted)
    rows = rows if mask.all() else rows.filter(pa.array(mask))
    columns = {name: (part.schema.field(name), rows[name]) for name in present}
    try:
        return pa.table(conform(columns, list(schema), rows.num_rows), schema=schema)
    except Retype as error:
        raise InputError(
            f"column {error.field.name!r} holds values of different types until the run is finished: "
            "finish it with `ttg resume`, or leave the column out"
        ) from error


def _row_groups(footer: Any, first: int, last: int) -> list[int]:
    """The row groups that may have indices of ``[first, last]``, by the statistics of their first column."""
    return [
        number
        for number in range(footer.num_row_groups)
        if (found := footer.row_group(number).column(0).statistics) is None
        or not found.has_min_max
        or (found.min <= last and found.max >= first)
    ]


def _members(indices: np.ndarray[Any, Any], wanted: BitMap64) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of ``indices`` are wanted."""
    first, last = wanted.min(), wanted.max()
    inside: np.ndarray[Any, np.dtype[np.bool_]] = (indices >= first) & (indices <= last)
    if len(wanted) < last - first + 1:
        inside &= np.isin(indices, np.frombuffer(wanted.to_array(), np.uint64).astype(np.int64))
    return inside


def export(
    folder: RunFolder,
    format: str,
    file: BinaryIO,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
    indices: Iterable[int] | None = None,
) -> int:
    """Write the table as ``table``, ``csv``, ``json``, ``jsonl`` or ``parquet``; returns the number of rows."""
    schema, windows = read(folder, columns, indices, limit)
    return write_windows(format, file, schema, windows)
