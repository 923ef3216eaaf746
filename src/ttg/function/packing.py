"""Objects as files that can be mapped: a pickle whose large buffers lie beside its stream, each at its own place.

A packed object is a table of contents, the stream (pickle protocol 5), and its buffers, aligned. Whoever maps such a
file has the NumPy and Arrow data in it without a copy, and shares the memory with all others that do; what a process
changes is its own. Its name is a digest of the table and the stream, and the table has those of the buffers: who signs
the name signs all of it.
"""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ttg.errors import FunctionError

ASIDE_BYTES = 64 << 10
"""Smaller buffers stay in the stream."""
ALIGNMENT = 64
_MAGIC = b"TTGpack2"
_HEAD = struct.Struct("<8sQQ")
_ENTRY = struct.Struct("<Q32s")

FindInput = Callable[[str], Path]
"""Where the file of a packed object is, by its name. Raises ``FunctionError`` when it cannot be had."""


class Packed:
    """An object, packed but not copied: the buffers are still those of the object itself. ``dumps`` pickles it."""

    def __init__(self, value: Any, dumps: Callable[..., bytes] | None = None) -> None:
        from ttg.function import pickling

        self._buffers: list[memoryview] = []
        self.stream = (dumps or pickling.dumps)(value, buffer_callback=self._keep)
        entries = b"".join(_ENTRY.pack(len(buffer), _digest(buffer)) for buffer in self._buffers)
        self._head = _HEAD.pack(_MAGIC, len(self.stream), len(self._buffers)) + entries
        self.name = _name_of(self._head, self.stream)

    @property
    def has_buffers(self) -> bool:
        """Whether part of it lies beside the stream."""
        return bool(self._buffers)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(map(len, self._parts()))

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("wb") as file:
                for part in self._parts():
                    file.write(part)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def _keep(self, buffer: pickle.PickleBuffer) -> bool:
        """Whether it stays in the stream."""
        try:
            raw = buffer.raw()
        except BufferError:  # not in one piece
            return True
        if len(raw) >= ASIDE_BYTES:
            self._buffers.append(raw)
        return len(raw) < ASIDE_BYTES

    def _parts(self) -> Iterator[bytes | memoryview]:
        position = 0
        parts: list[bytes | memoryview] = [self._head, self.stream, *self._buffers]
        for part in parts:
            yield b"\0" * (-position % ALIGNMENT if position else 0)
            position += (-position % ALIGNMENT) + len(part)
            yield part


Inputs = dict[str, Packed]
"""What a run needs beside its specification, by name."""


def no_input(name: str) -> Path:
    """For runs that have none."""
    raise FunctionError(f"the run's input {name} is not at hand here")


def unpacked(name: str, find_input: FindInput) -> Any:
    """The object in the file of that ``name``. Only for names that somebody trusted has signed.

    Raises ``FunctionError`` for a file that is not there or damaged, and what unpickling raises.
    """
    import mmap

    path = find_input(name)
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        raise FunctionError(f"an input of the run cannot be read ({path}): {error}") from error
    return unpacked_from(data, name, str(path))


def unpacked_from(data: Any, name: str, place: str) -> Any:
    """The same of what such a file holds, which lies at ``place``."""
    try:
        stream, buffers = _contents(memoryview(data), name)
    except (ValueError, struct.error) as error:
        raise FunctionError(f"an input of the run cannot be read ({place}): {error}") from error
    return pickle.loads(stream, buffers=buffers)  # noqa: S301 - see above


def _contents(data: memoryview, name: str) -> tuple[memoryview, list[memoryview]]:
    magic, stream_size, count = _HEAD.unpack_from(data)
    table = _HEAD.size + count * _ENTRY.size
    if magic != _MAGIC or table > len(data):
        raise ValueError("it is no packed object of TTG")
    entries = [_ENTRY.unpack_from(data, _HEAD.size + number * _ENTRY.size) for number in range(count)]
    position, parts = table, []
    for size in (stream_size, *(size for size, _ in entries)):
        start = position + -position % ALIGNMENT
        parts.append(data[start : start + size])
        position = start + size
    stream, *buffers = parts
    if _name_of(data[:table], stream) != name or position > len(data):
        raise ValueError("it is damaged")
    if any(_digest(buffer) != digest for buffer, (_, digest) in zip(buffers, entries, strict=True)):
        raise ValueError("its data are damaged")
    return stream, buffers


def _digest(buffer: memoryview) -> bytes:
    """SHA-256, for which processors have instructions: 300 MB took 0.17 s, BLAKE2b 0.34 s (CRC-32: 0.08 s)."""
    return hashlib.sha256(buffer).digest()


def _name_of(head: bytes | memoryview, stream: bytes | memoryview) -> str:
    digest = hashlib.blake2b(head, digest_size=16)
    digest.update(stream)
    return digest.hexdigest()
