"""The dataset on disk: numbered Parquet parts, each of which carries in its footer the indices it settles.

A part gets its name only when it is complete and synced, so that data and bookkeeping become true in one step. Opening
a run reads footers only. ``results/`` holds rows, ``dead/`` dead letters; both kinds of part are made the same way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
from pyroaring import BitMap64

from ttg.errors import StorageError
from ttg.results import statistics
from ttg.results.arrow import pa
from ttg.results.folder import RunFolder, publish_file, storage_error
from ttg.results.ledger import Ledger, bitmap_from_text, bitmap_to_text
from ttg.results.schema import INDEX, TRAILING
from ttg.results.statistics import ColumnStatistics

ROW_GROUP_ROWS = 1 << 17  # written as fast as larger ones, with less memory
BATCH_ROWS = 1 << 16  # given to a column's encoder at a time; a tenth faster than Arrow's 1,024

_INDICES_KEY = b"ttg.indices"
_STATISTICS_KEY = b"ttg.statistics"
_NOT_DESCRIBED = {INDEX.name, "attempt", "worker"}


class Unwritable(Exception):
    """Some of the rows cannot become part of a Parquet file."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part as its footer tells: ``indices`` are what it settles."""

    path: Path
    rows: int
    schema: pa.Schema
    indices: BitMap64
    statistics: Mapping[str, ColumnStatistics]


def part_path(directory: Path, number: int) -> Path:
    """Where part ``number`` of a folder is."""
    return directory / f"part-{number:06d}.parquet"


def part_paths(directory: Path) -> list[Path]:
    """The complete parts of a folder, in the order they were made."""
    return sorted(directory.glob("part-*.parquet"))


def next_number(folder: RunFolder) -> int:
    """The number of the next part, unused in both folders of the run."""
    taken = [int(path.stem.removeprefix("part-")) for path in part_paths(folder.results) + part_paths(folder.dead)]
    return max(taken, default=0) + 1


def write_part(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], indices: BitMap64) -> None:
    """Write ``tables`` as the part ``path``, replacing one of that name; durable when this returns.

    ``StorageError`` when the disk refuses; what was there before is then still there.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        _write_file(temporary, schema, tables, indices)
        publish_file(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(path, error) from error
        raise


def _write_file(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], indices: BitMap64) -> None:
    with open(path, "wb") as file:
        write_table(file, schema, tables, indices)
        file.flush()
        os.fsync(file.fileno())


def write_table(file: BinaryIO, schema: pa.Schema, tables: Iterable[pa.Table], indices: BitMap64) -> None:
    """Write ``tables`` and the footer of a part. :class:`Unwritable` when Parquet, not the disk, refuses."""
    found: dict[str, ColumnStatistics] = {}
    try:
        with pq.ParquetWriter(file, schema, **layout(schema)) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
                found = statistics.merge_all([found, _described(table)])
                del table  # before the next is made
            footer = {_INDICES_KEY: bitmap_to_text(indices), _STATISTICS_KEY: statistics.to_text(found)}
            writer.add_key_value_metadata(footer)
    except (pa.ArrowException, ValueError, TypeError, LookupError, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # Arrow calls much an OSError that is none
            raise
        raise Unwritable(f"{type(error).__name__}: {error}") from error


def layout(schema: pa.Schema) -> dict[str, Any]:
    """How ``ParquetWriter`` is to write a table of ours: a third of the time of its defaults for one parameter and one
    float, and far less room.

    Integers that come in runs (the index, most parameters) shrink to almost nothing as differences; a dictionary pays
    for text only; statistics serve the search for indices only; pages of version 2 take a tenth less time, because the
    levels of nulls in them are not compressed. Parquet is told by paths: a column ``a.b`` could be the ``b`` of a
    struct ``a``, so it stays as it is.
    """
    ours = {field.name for field in TRAILING}
    known = [field for field in schema if "." not in field.name]
    return {
        "compression": "LZ4",
        "data_page_version": "2.0",
        "write_batch_size": BATCH_ROWS,
        "use_dictionary": [field.name for field in known if _is_text(field.type)],
        "column_encoding": {
            field.name: "DELTA_BINARY_PACKED" for field in known if field.type == pa.int64() and field.name not in ours
        },
        "write_statistics": [field.name for field in schema if field.name == INDEX.name],
    }


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _described(table: pa.Table) -> dict[str, ColumnStatistics]:
    names = [name for name in table.column_names if name not in _NOT_DESCRIBED]
    return {name: statistics.describe(table.column(name)) for name in names}


# ---------------------------------------------------------------------------------------------- reading footers


def read_part(path: Path) -> Part:
    """A part, by its footer; ``StorageError`` when it is damaged."""
    try:
        footer = pq.read_metadata(path)
        marks = footer.metadata or {}
        return Part(
            path=path,
            rows=footer.num_rows,
            schema=footer.schema.to_arrow_schema(),
            indices=bitmap_from_text(marks[_INDICES_KEY]),
            statistics=statistics.from_text(marks[_STATISTICS_KEY]),
        )
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise StorageError(
            f"expected a complete part of a run, got {path} ({error}): delete it, and `ttg resume` computes it again"
        ) from error
    except OSError as error:
        raise storage_error(path, error) from error


def read_parts(directory: Path) -> list[Part]:
    """All parts of a folder, by their footers."""
    return [read_part(path) for path in part_paths(directory)]


def load_ledger(folder: RunFolder, *, forgiving: bool = False) -> Ledger:
    """What is settled on disk. Reads footers only, changes nothing: for anybody, also while the run goes on. A damaged
    part is a ``StorageError``, or if ``forgiving`` settles nothing."""
    settled = _settled_as_far_as_readable if forgiving else _settled
    return Ledger(folder.spec.size, done=settled(folder.results), dead=settled(folder.dead))


def open_ledger(folder: RunFolder) -> Ledger:
    """As :func:`load_ledger`, and removes what a crash left half written: for the holder of the run's lock."""
    for directory in (folder.path, folder.results, folder.dead):
        for leftover in directory.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
    return load_ledger(folder)


def _settled(directory: Path) -> BitMap64:
    settled = BitMap64()
    for part in read_parts(directory):
        settled |= part.indices
    return settled


def _settled_as_far_as_readable(directory: Path) -> BitMap64:
    settled = BitMap64()
    for path in part_paths(directory):
        with suppress(StorageError):
            settled |= read_part(path).indices
    return settled
