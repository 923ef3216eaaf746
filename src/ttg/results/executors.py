"""Which workers executed a run, as its parts say."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from ttg.errors import InputError
from ttg.results.dataset import part_paths
from ttg.results.dead_letters import dead_letters
from ttg.results.folder import RunFolder

WORKER = "worker"


def executor_of(folder: RunFolder, index: int) -> str:
    """The worker that settled ``index``; nothing while nobody has."""
    from ttg.results.reading import table

    try:
        found: list[str] = table(folder, [WORKER], index)[WORKER].to_pylist()
    except InputError:
        found = []
    found += [letter[WORKER] for letter in dead_letters(folder) if letter["index"] == index]
    return found[0] if found else ""


def some_workers(folder: RunFolder) -> set[str]:
    """Names of workers: those in the first row group of each part, since all rows of a large run take too long."""
    paths = [*part_paths(folder.results), *part_paths(folder.dead)]
    return {name for path in paths for name in _names(path)}


def _names(path: Path) -> list[str]:
    file = pq.ParquetFile(path, read_dictionary=[WORKER])
    column = file.read_row_group(0, [WORKER])[WORKER] if file.num_row_groups else []
    return [name for chunk in getattr(column, "chunks", ()) for name in chunk.unique().to_pylist()]
