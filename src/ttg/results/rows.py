"""Rows that no worker can compute are kept in the run folder, as columns, so that any slice of them can be taken, and a
run be resumed from its folder alone.

``rows/0.arrow`` (:mod:`ttg.results.row_file`) is what the space's first source holds, numbered as the space counts its
sources; a Parquet file is copied as it is. Runs of earlier versions have copies of other files, too, or
``rows/1.memory.jsonl``, rows that came from a Python program.
"""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import msgspec

from ttg.messages.parameters import EnumMember, MemberOf, decoded
from ttg.results.folder import RunFolder, disk_errors
from ttg.results.row_file import SavedRows, write_rows
from ttg.space import Space, from_file, rows, space_from_json
from ttg.space.codec import rows_forms
from ttg.space.files import FileRows
from ttg.space.forms import RowsForm
from ttg.space.readers import ParquetReader

IN_MEMORY = ".memory.jsonl"
COLUMNS = ".arrow"


def save_rows(folder: RunFolder, space: Space) -> None:
    """Keep what ``space`` cannot compute in the run folder. Raises ``StorageError``."""
    place = folder.path / "rows"
    with disk_errors(place):
        place.mkdir(exist_ok=True)
        for number, source in enumerate(space.sources()):
            if isinstance(source, FileRows) and source.is_columnar:
                source.check()
                shutil.copyfile(source.path, place / f"{number}{source.path.suffix.lower()}")
            else:
                write_rows(place / f"{number}{COLUMNS}", source)


def space_of(folder: RunFolder, member: MemberOf = EnumMember.itself) -> Space:
    """The run's space, from its specification and its saved rows; for ``member`` see :func:`space_from_json`."""
    spec = folder.spec
    saved = {int(path.name.partition(".")[0]): path for path in (folder.path / "rows").glob("*")}
    forms = rows_forms(spec.space)
    read = _read_version_2 if spec.version < 3 else _read
    sources = [read(saved[number], form, member) for number, form in enumerate(forms) if number in saved]
    return space_from_json(spec.space, sources, member)


class _DatesAsText(FileRows):
    """Rows of a Parquet file as they arrived in runs of version 2."""

    def _read(self, block: int) -> dict[str, list[Any]]:
        return {name: list(map(_dates_as_text, column)) for name, column in super()._read(block).items()}


def _dates_as_text(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_dates_as_text, value))
    if isinstance(value, dict):
        return {key: _dates_as_text(item) for key, item in value.items()}
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value


def _read_version_2(path: Path, form: RowsForm, member: MemberOf) -> Space:
    parquet = path.suffix in (".parquet", ".pq")
    return _DatesAsText(path, ParquetReader(path)) if parquet else _read(path, form, member)


def _read(path: Path, form: RowsForm, member: MemberOf) -> Space:
    if path.suffix == COLUMNS:
        return SavedRows(path, member)
    if not path.name.endswith(IN_MEMORY):
        return from_file(path, form.names)
    with path.open("rb") as file:
        return rows([decoded(msgspec.json.decode(line), member) for line in file])
