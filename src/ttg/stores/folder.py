"""A store in a folder that coordinator and workers share: of one machine, or on a network file system."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ttg.errors import StoreError
from ttg.stores.base import FILES, ObjectLost, Store

MAPPED_BYTES = 1 << 20
"""Smaller files are read faster than mapped."""
_ROOM = "free some space there, and it goes on"
_RIGHTS = "expected a folder in which this user can make and remove files, here and where the workers are"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
}


class FolderStore(Store):
    """One file an object. Nothing is synced: what a crash of the machine takes is computed again.

    Nobody but the coordinator makes the folder: where a disk is not mounted, writing must fail.
    """

    @property
    def _folder(self) -> Path:
        return Path(self.place.removeprefix(FILES))

    def make(self) -> None:
        """In a folder that is there: nothing of ours is made where a disk is not mounted."""
        if not self._folder.parent.is_dir():
            text = f"expected a folder {self._folder.parent} for the store, found none"
            raise StoreError(f"{text}: make it, mount it, or name another --store")
        with self.errors():
            self._folder.mkdir(exist_ok=True)

    def size(self, name: str) -> int | None:
        with self.errors():
            try:
                return (self._folder / name).stat().st_size
            except FileNotFoundError:
                return None

    def add_file(self, name: str, path: Path) -> None:
        with contextlib.suppress(OSError):
            os.link(path, self._folder / name)
        super().add_file(name, path)

    def local_copy(self, name: str) -> Path:
        return super().local_copy(name) if self.ref.named else self._folder / name

    def find(self, name: str) -> bytes | None:
        with self.errors():
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def read(self, name: str) -> Any:
        """Large files of the run's own folder are mapped, not copied. Those of a network are not: a mapped page that
        the server does not give any more would kill this process."""
        with self.errors():
            try:
                with open(self._folder / name, "rb", buffering=0) as file:
                    size = os.fstat(file.fileno()).st_size
                    if self.ref.named or size < MAPPED_BYTES:
                        return file.read(size)
                    import mmap

                    return memoryview(mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ))
            except FileNotFoundError:
                raise ObjectLost(f"{name} is not there") from None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with self.errors():
            try:
                file = (self._folder / name).open("rb")
            except FileNotFoundError:
                raise ObjectLost(f"{name} is not there") from None
        with file:
            yield file

    def write(self, name: str, data: Any) -> None:
        path = self._folder / f"{name}.part"
        with self.errors():
            try:
                with open(path, "wb", buffering=0) as file:
                    for piece in self.pieces(data):
                        while len(piece):
                            piece = piece[file.write(piece) :]
                path.replace(self._folder / name)
            except (OSError, StoreError):
                with contextlib.suppress(OSError):
                    path.unlink()
                raise

    def remove(self, names: Iterable[str]) -> None:
        with self.errors():
            for name in names:
                (self._folder / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        with self.errors():
            return os.listdir(self._folder) if self._folder.exists() else []

    def _clear(self) -> None:
        import shutil

        with self.errors():
            if self._folder.exists():
                shutil.rmtree(self._folder)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "is it mounted here, and does its server answer?")
            raise StoreError(f"cannot use the store {self.place}: {error.strerror or error}: {advice}") from error
