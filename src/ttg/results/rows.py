"""Rows that no worker can compute are kept in the run folder, so that a run can be resumed from its folder alone.

``rows/0.csv`` (or .jsonl, .parquet) is a copy of a parameter file; ``rows/1.memory.jsonl`` holds rows that came from a
Python program. The space's fingerprints say which is which.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ttg.errors import SpaceError
from ttg.results.folder import RunFolder, disk_errors
from ttg.space import Space, from_file, rows, space_from_json
from ttg.space.files import FileRows

IN_MEMORY = ".memory.jsonl"


def save_rows(folder: RunFolder, space: Space) -> None:
    """Copy what ``space`` cannot compute into the run folder. Raises ``StorageError``, and ``SpaceError`` for values
    that have no JSON form."""
    place = folder.path / "rows"
    with disk_errors(place):
        place.mkdir(exist_ok=True)
        for number, source in enumerate(space.sources()):
            if isinstance(source, FileRows):
                shutil.copyfile(source.path, place / f"{number}{source.path.suffix.lower()}")
            else:
                _write_rows(place / f"{number}{IN_MEMORY}", source)


def _write_rows(path: Path, source: Space) -> None:
    with path.open("w") as file:
        for row in source:
            try:
                file.write(json.dumps(row) + "\n")
            except (TypeError, ValueError) as error:
                raise SpaceError(
                    f"rows of parameters travel as JSON: expected numbers, texts, booleans or lists in each, got {row}"
                ) from error


def space_of(folder: RunFolder) -> Space:
    """The run's space, from its specification and its saved rows."""
    saved = sorted((folder.path / "rows").glob("*"))
    return space_from_json(folder.spec.space, [_read(path) for path in saved])


def _read(path: Path) -> Space:
    if not path.name.endswith(IN_MEMORY):
        return from_file(path)
    with path.open() as file:
        return rows([json.loads(line) for line in file])
