"""What a store is, and how one is found. The child of a worker imports this, so it stays light."""

from __future__ import annotations

import os
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import IO, Any

from ttg.errors import StoreError
from ttg.messages import Stored, StoreRef

PROOF = "proof"
FILES = "file://"
"""Before the path of a folder that is written as a URL."""
INLINE_BYTES = 192 << 10
"""Payloads up to this size travel in their message: a file each would cost more than it saves."""
PIECE_BYTES = 8 << 20
"""What is written at a time, before it is asked whether it is wanted still."""
_OURS = re.compile(rf"([0-9a-f]{{32}}|{PROOF})(\.part)?")


class ObjectLost(Exception):
    """An object is not there, or not whole. Computing it again is the only way to have it."""


class Store(ABC):
    """Objects of one run. All methods block; they raise :class:`StoreError` when the store is away or full.

    ``ref.proof`` is in an object that the coordinator wrote: who finds it there shares the store with the coordinator.
    """

    def __init__(self, ref: StoreRef) -> None:
        self.ref = ref
        self._is_abandoned = False

    @property
    def place(self) -> str:
        """Where it is."""
        return self.ref.place

    @property
    def shown(self) -> str:
        """The same for people, without a password that is in it."""
        return re.sub(r"//[^/@:]*:[^/@]*@", "//***@", self.place)

    @classmethod
    def create(cls, place: str, *, named: bool = False) -> StoreRef:
        """Make the store, or go on with it; coordinator's side."""
        store = open_store(StoreRef(place, os.urandom(16).hex(), named))
        store.make()
        found = store.find(PROOF)
        if found is not None:
            return StoreRef(place, found.decode(errors="replace"), named)
        try:
            store.write(PROOF, store.ref.proof.encode())
        except StoreError:
            with suppress(StoreError):
                store.clear()
            raise
        return store.ref

    @classmethod
    def attach(cls, ref: StoreRef) -> Store:
        """The store, if what is written here is what the coordinator reads; worker's side."""
        store = open_store(ref)
        if not store.is_shared():
            raise StoreError(f"{store.shown} is not here what it is to the coordinator: it is not shared with it")
        tried = store.put(b"can this be written?")
        store.remove([tried.name])
        return store

    def is_shared(self) -> bool:
        """Whether this is the store that the coordinator made."""
        return self.find(PROOF) == self.ref.proof.encode()

    def restore(self, inputs: Path) -> None:
        """Make the store anew if it is gone, with the files in ``inputs``; coordinator's side."""
        if not self.is_shared():
            self.make()
            self.write(PROOF, self.ref.proof.encode())
            self.add_files(inputs)

    def put(self, payload: Any) -> Stored:
        """Write an object; it is whole when this returns."""
        stored = Stored(os.urandom(16).hex(), len(payload), zlib.crc32(payload))
        self.write(stored.name, payload)
        return stored

    def get(self, stored: Stored) -> Any:
        """Its bytes, as a buffer that stays valid when the object is removed. Raises :class:`ObjectLost`, too."""
        data = self.read(stored.name)
        if len(data) != stored.size or zlib.crc32(data) != stored.checksum:
            raise ObjectLost(
                f"{stored.name} is damaged: expected {stored.size} bytes with checksum {stored.checksum:08x}, "
                f"got {len(data)} bytes with {zlib.crc32(data):08x}"
            )
        return data

    def abandon(self) -> None:
        """Whatever is being written, maybe by another thread, ends soon, with a :class:`StoreError`."""
        self._is_abandoned = True

    def pieces(self, data: Any) -> Iterator[memoryview]:
        """``data`` for :meth:`write`, as long as that is wanted."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), PIECE_BYTES):
            if self._is_abandoned:
                raise StoreError(f"writing into {self.place} was given up")
            yield view[start : start + PIECE_BYTES]

    def add_files(self, folder: Path) -> None:
        """Have what lies in a folder, if there is one, as objects of the same names."""
        for path in folder.glob("*"):
            self.add_file(path.name, path)

    def add_file(self, name: str, path: Path) -> None:
        """Have the contents of a file as an object of that name; one of another size there is damaged."""
        import mmap

        if self.size(name) == path.stat().st_size:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            self.write(name, data)

    def local_copy(self, name: str) -> Path:
        """A file with the contents of an object, to be mapped: one for all processes of this user on this machine."""
        from ttg.stores.cache import cached

        return cached(name, self.size(name), lambda: self.read(name))

    def clear(self) -> None:
        """Remove the store with all that is in it, unless there is something that no store has put there."""
        if foreign := sorted(name for name in self.names() if not _OURS.fullmatch(name)):
            raise StoreError(f"{self.shown} holds {foreign[0]!r}, which is not TTG's: remove it yourself")
        self._clear()

    @abstractmethod
    def names(self) -> list[str]:
        """Of all that is there."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of an object; ``None`` if there is none."""

    @abstractmethod
    def make(self) -> None:
        """Make the place where the objects lie, if that needs to be made. Where it lies must be there."""

    @abstractmethod
    def find(self, name: str) -> bytes | None:
        """A small object; ``None`` if there is none."""

    @abstractmethod
    def read(self, name: str) -> Any:
        """An object. Raises :class:`ObjectLost`, too."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """An object, to be read from its beginning, within :meth:`errors`. Raises :class:`ObjectLost`, too."""

    @abstractmethod
    def errors(self) -> AbstractContextManager[None]:
        """While this is open, errors of reading from the store are :class:`StoreError`, with what to do."""

    @abstractmethod
    def write(self, name: str, data: Any) -> None:
        """Write an object, whole or not at all as far as anybody who knows its name can see."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; those that are not there are removed already."""

    @abstractmethod
    def _clear(self) -> None:
        """Remove the place with all that is in it."""


def open_store(ref: StoreRef) -> Store:
    """The store that ``ref`` is about; nothing is looked at yet."""
    if "://" in ref.place and not ref.place.startswith(FILES):
        from ttg.stores.objects import ObjectStore  # imports PyArrow

        return ObjectStore(ref)
    from ttg.stores.folder import FolderStore

    return FolderStore(ref)


def within(place: str, name: str) -> str:
    """Where ``name`` is at a place that somebody named."""
    path, mark, query = place.partition("?") if "://" in place else (place, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{query}"
