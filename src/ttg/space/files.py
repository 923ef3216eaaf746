"""Rows of a CSV, JSONL, Parquet or text file as a space, read block by block: the file may be larger than memory.

Opening reads the file once, to count and check its rows. Text in CSV, and the lines of a .txt, becomes int, float or
bool if a whole column reads as such (an empty cell of such a column is ``None``); everything else stays text.
"""

from __future__ import annotations

import hashlib
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.errors import SpaceError
from ttg.space.base import Space, gathered
from ttg.space.forms import RowsForm
from ttg.space.kinds import Rows
from ttg.space.readers import BlockReader, CsvReader, JsonlReader, LinesReader, ParquetReader
from ttg.space.values import check_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

STANDARD_INPUT = "-"

READERS: dict[str, type[BlockReader]] = {
    ".csv": CsvReader,
    ".tsv": CsvReader,
    ".jsonl": JsonlReader,
    ".ndjson": JsonlReader,
    ".parquet": ParquetReader,
    ".pq": ParquetReader,
    ".txt": LinesReader,
}


def from_file(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Space:
    """The rows of a file, its columns (all, or those that are named) as parameters. The file must stay as it is while
    the run goes on."""
    file = Path(path)
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise SpaceError(f"{file}: expected a file that ends with one of {', '.join(READERS)}")
    try:
        return FileRows(file, _named(reader(file), file, columns), columns)
    except UnicodeDecodeError as error:
        raise SpaceError(
            f"{file}: cannot be read: {error}: expected text in UTF-8 (iconv -t utf-8 makes it so)"
        ) from error
    except OSError as error:
        raise SpaceError(f"{file}: cannot be read: {error.strerror or error}") from error


def _named(reader: BlockReader, path: Path, columns: Sequence[str] | None) -> BlockReader:
    """Lines have no name of their own."""
    if isinstance(reader, LinesReader):
        reader.names = [_only_name(path, columns)]
    return reader


def _only_name(where: Path | str, columns: Sequence[str] | None) -> str:
    if columns is None or len(columns) != 1:
        raise SpaceError(f"{where}: has lines without a name: say which one parameter they are (--columns path)")
    return columns[0]


def opened(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Space:
    """As :func:`from_file`, and ``-`` is standard input, which is read to its end at once: JSON lines if it begins with
    ``{``, CSV if its first line is two or more names with commas, file names if it has NUL
    (``find -print0``), else one value per line."""
    return _from_input(columns) if str(path) == STANDARD_INPUT else from_file(path, columns)


def has_lines(path: str | os.PathLike[str]) -> bool:
    """Whether :func:`opened` may need to be told of which one parameter there are values."""
    return str(path) == STANDARD_INPUT or Path(path).suffix.lower() == ".txt"


def _from_input(columns: Sequence[str] | None) -> Space:
    import shutil
    import tempfile

    first = sys.stdin.buffer.readline()
    if b"\0" in first:
        return _from_names(first + sys.stdin.buffer.read(), columns)
    with tempfile.NamedTemporaryFile(suffix=_suffix_for(first)) as file:
        file.write(first)
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        try:
            space = from_file(file.name, columns)
            return Rows({name: list(column) for name, column in space.columns(0, len(space)).items()})
        except SpaceError as error:
            raise SpaceError(str(error).replace(file.name, "standard input")) from error


def _from_names(text: bytes, columns: Sequence[str] | None) -> Space:
    """File names as ``find -print0`` writes them: each is text, whatever it looks like, and may hold line breaks."""
    name = _only_name("standard input", columns)
    return Rows({name: [os.fsdecode(value) for value in text.split(b"\0") if value]})


def _suffix_for(first: bytes) -> str:
    if first.lstrip().startswith(b"{"):
        return ".jsonl"
    names = first.decode("utf-8", "replace").split(",")
    return ".csv" if len(names) > 1 and all(name.strip(' "\r\n').isidentifier() for name in names) else ".txt"


class FileRows(Space):
    """Rows of a file; the last block read is kept."""

    computable = False

    def __init__(self, path: Path, reader: BlockReader, columns: Sequence[str] | None = None) -> None:
        if not reader.starts:
            raise SpaceError(f"{path}: has no rows: expected at least one below the names")
        try:
            self.names = check_names(_chosen(reader.names, columns))
        except SpaceError as error:
            raise SpaceError(f"{path}: {error}; --columns a,b takes only some of its columns") from error
        self.path = path
        self._reader = reader
        self._identity = _identity(path)
        self._block: tuple[int, dict[str, list[Any]]] = (-1, {})

    def __len__(self) -> int:
        return self._reader.count

    @property
    def is_columnar(self) -> bool:
        """Whether the file holds columns, as it is."""
        return isinstance(self._reader, ParquetReader)

    def check(self) -> None:
        """``SpaceError`` for a value that cannot be a parameter, which is otherwise seen when it is needed."""
        if isinstance(self._reader, ParquetReader):
            self._reader.check(self.names)

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        pieces = list(self._pieces(start, stop))
        return {name: list(chain.from_iterable(piece[name] for piece in pieces)) for name in self.names}

    def _pieces(self, start: int, stop: int) -> Iterator[dict[str, list[Any]]]:
        while start < stop:
            block = bisect_right(self._reader.starts, start) - 1
            first = self._reader.starts[block]
            columns = self._read(block)
            end = min(stop, first + len(columns[self.names[0]]))
            yield {name: columns[name][start - first : end - first] for name in self.names}
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


def _chosen(names: Sequence[str], columns: Sequence[str] | None) -> Sequence[str]:
    absent = [name for name in columns or () if name not in names]
    if absent:
        raise SpaceError(f"there is no column {absent[0]!r}; it has {', '.join(map(repr, names))}")
    return names if columns is None else columns


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
