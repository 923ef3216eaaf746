"""Standard streams whose other end may be closed, full, stopped or gone: nobody who looks on changes what is done.

What is *shown* to people (progress, logs) is lost where nobody takes it. What was *asked for* (rows, a report) is an
error where it cannot be delivered, and the end of the output where its reader has left.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from ttg.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PATIENCE_SECONDS = 0.05
"""How long a slow reader may take to make room for a line; an event loop waits for it, with all its leases."""

READER_GONE = (errno.EPIPE, errno.EIO)
"""A pipe without a reader; a terminal that was closed."""


def show(stream: TextIO | None, text: str) -> None:
    """Write ``text`` to people now or not at all: never fails, never waits for more than a moment."""
    with suppress(OSError, ValueError, StorageError):  # gone or full; closed
        descriptor = _descriptor(stream)
        if descriptor is not None:
            # Past the stream's buffer: what cannot be written would stay there, and fail again at each later try.
            if select.select([], [descriptor], [], PATIENCE_SECONDS)[1]:
                os.write(descriptor, text.encode(stream.encoding, "backslashreplace"))  # type: ignore[union-attr]
        elif stream is not None:
            stream.write(text)
            stream.flush()


def _descriptor(stream: Any) -> int | None:
    """Of a stream that is a plain file for Python; a notebook's has a descriptor, but that is not where it writes."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if not isinstance(raw, io.FileIO):
        return None
    stream.flush()
    return raw.fileno()


class _Shown(io.FileIO):
    """What cannot be written is lost."""

    def write(self, data: ReadableBuffer) -> int:
        with suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


class _AskedFor(io.FileIO):
    """``BrokenPipeError`` when the reader has left, ``StorageError`` when what was asked for cannot be delivered."""

    def write(self, data: ReadableBuffer) -> int:
        try:
            while (written := super().write(data)) is None:  # whoever gave it to us made it non-blocking
                select.select([], [self], [])
            return written
        except OSError as error:
            if error.errno in READER_GONE:
                raise BrokenPipeError(error.errno, error.strerror) from error
            raise StorageError(
                f"expected to write to standard output, got {error.strerror}: what was asked for is not complete"
            ) from error


def guard_standard_streams() -> None:
    """Give this process, which is ours alone, streams as the module's text says."""
    _take_closed_descriptors()
    sys.stdout = _text(_AskedFor(1, "wb", closefd=False), sys.stdout)
    sys.stderr = _text(_Shown(2, "wb", closefd=False), sys.stderr)


def _take_closed_descriptors() -> None:
    """So that no file or socket of ours gets the number of a closed stream, and with it what is printed there. Opened
    the wrong way round: to use one still fails."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor else os.O_WRONLY)


def _text(raw: io.FileIO, before: Any) -> io.TextIOWrapper:
    """As ``before``, which Python made, or would have made of a stream that is open."""
    errors = getattr(before, "errors", None) or "strict"
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace" if errors == "strict" else errors,  # what a terminal cannot show is no error
        line_buffering=getattr(before, "line_buffering", False),
        write_through=getattr(before, "write_through", False),
    )
