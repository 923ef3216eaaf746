"""Rows of a CSV, JSONL or Parquet file as a space, read block by block: the file may be larger than memory.

Opening reads the file once, to count and check its rows. Text in CSV becomes int, float or bool if a whole
column reads as such (an empty cell of such a column is ``None``); everything else stays text.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.errors import SpaceError
from ttg.space.base import Space, gathered
from ttg.space.forms import RowsForm
from ttg.space.readers import BlockReader, CsvReader, JsonlReader, ParquetReader
from ttg.space.values import check_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

READERS: dict[str, type[BlockReader]] = {
    ".csv": CsvReader,
    ".tsv": CsvReader,
    ".jsonl": JsonlReader,
    ".ndjson": JsonlReader,
    ".parquet": ParquetReader,
    ".pq": ParquetReader,
}


def from_file(path: str | os.PathLike[str]) -> Space:
    """The rows of a file, its columns as parameters. The file must stay as it is while the run goes on."""
    file = Path(path)
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise SpaceError(f"{file}: expected a file that ends with one of {', '.join(READERS)}")
    try:
        return FileRows(file, reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


class FileRows(Space):
    """Rows of a file; the last block read is kept."""

    computable = False

    def __init__(self, path: Path, reader: BlockReader) -> None:
        if not reader.starts:
            raise SpaceError(f"{path}: has no rows: expected at least one below the names")
        self.names = check_names(reader.names)
        self.path = path
        self._reader = reader
        self._identity = _identity(path)
        self._block: tuple[int, dict[str, list[Any]]] = (-1, {})

    def __len__(self) -> int:
        return self._reader.count

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        pieces = list(self._pieces(start, stop))
        return {name: list(chain.from_iterable(piece[name] for piece in pieces)) for name in self.names}

    def _pieces(self, start: int, stop: int) -> Iterator[dict[str, list[Any]]]:
        while start < stop:
            block = bisect_right(self._reader.starts, start) - 1
            first = self._reader.starts[block]
            columns = self._read(block)
            end = min(stop, first + len(columns[self.names[0]]))
            yield {name: column[start - first : end - first] for name, column in columns.items()}
            start = end

    def _read(self, block: int) -> dict[str, list[Any]]:
        if self._block[0] != block:
            try:
                unchanged = _identity(self.path) == self._identity
            except OSError as error:
                raise SpaceError(f"{self.path}: cannot be read any more: {error.strerror}") from error
            if not unchanged:
                raise SpaceError(f"{self.path}: was changed while in use: put it back, or start a new run")
            self._block = (block, self._reader.read(block))
        return self._block[1]

    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return gathered(self, indices)

    @cached_property
    def _form(self) -> RowsForm:
        with self.path.open("rb") as file:
            return RowsForm(self.names, len(self), hashlib.file_digest(file, "sha256").hexdigest())

    def form(self) -> RowsForm:
        return self._form

    def sources(self) -> tuple[Space, ...]:
        return (self,)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
