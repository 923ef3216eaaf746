"""Files that calls have left in their ``workdir``: unpacked beside the table, before their rows are counted.

``RUN/files/INDEX/…`` has all files of the call whose row is in the table, or nothing. What is there of an index without
a row is replaced when that has one.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Set
from pathlib import Path, PurePosixPath
from typing import IO

from ttg.messages import Files
from ttg.results.folder import disk_errors
from ttg.stores import ObjectLost, Store

COPY_BYTES = 1 << 20
PART = ".part"
"""Where files are until all of a message are there."""


def save_files(files: Files, wanted: Set[int], store: Store | None, folder: Path) -> None:
    """Those of the indices ``wanted``, in ``folder``. Raises ``ObjectLost``, ``StoreError`` and ``StorageError``."""
    part = folder / PART
    with disk_errors(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    if files.stored is None:
        _unpack(io.BytesIO(files.inline), wanted, part)
    elif store is None:
        raise ObjectLost("the run has no store")
    else:
        with store.open(files.stored.name) as file:
            checked = _Checked(file, store)
            _unpack(checked, wanted, part)
            checked.compare(files.stored.size, files.stored.checksum)
    with disk_errors(folder):
        _sync(part)
        for index in part.iterdir():
            shutil.rmtree(folder / index.name, ignore_errors=True)
            index.rename(folder / index.name)
        part.rmdir()


class _Checked(io.RawIOBase):
    """Reads, and knows what was read: no object is ever whole in memory."""

    def __init__(self, file: IO[bytes], store: Store) -> None:
        self._file, self._store = file, store
        self._size = self._checksum = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with self._store.errors():
            data = self._file.read(size)
        self._size += len(data)
        self._checksum = zlib.crc32(data, self._checksum)
        return data

    def compare(self, size: int, checksum: int) -> None:
        """Raise ``ObjectLost`` unless that is what the object is."""
        while self.read(COPY_BYTES):
            pass
        if (self._size, self._checksum) != (size, checksum):
            raise ObjectLost(f"files of {size} bytes are damaged: got {self._size} bytes of another checksum")


def _unpack(stream: IO[bytes] | io.RawIOBase, wanted: Set[int], part: Path) -> None:
    """Only regular files, and nowhere else than below their index."""
    names = {str(index) for index in wanted}
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if member.isfile() and path.parts[0] in names and len(path.parts) > 1 and ".." not in path.parts:
                    with disk_errors(part):
                        _write(archive.extractfile(member), part / path, member.mode)
    except (tarfile.TarError, EOFError) as error:
        raise ObjectLost(f"files are damaged: {error}") from error


def _sync(folder: Path) -> None:
    """All that is below it; at once, which costs a disk much less than file by file."""
    for place, _, names in os.walk(folder, topdown=False):
        for path in (*(os.path.join(place, name) for name in names), place):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _write(source: IO[bytes] | None, path: Path, mode: int) -> None:
    assert source is not None, "a regular file has contents"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, COPY_BYTES)
    path.chmod(0o644 | mode & 0o111)
