"""Standard streams whose other end may be closed, full, stopped or gone: nobody who looks on changes what is done.

What is *shown* to people (progress, logs) is lost where nobody takes it. What was *asked for* (rows, a report) is an
error where it cannot be delivered, and the end of the output where its reader has left.
"""

from __future__ import annotations

import errno
import io
import os
import re
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from ttg.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PATIENCE_SECONDS = 0.05
"""How long a slow reader may take to make room for a line; an event loop waits for it, with all its leases."""

CLEAR_LINE = "\r\x1b[K"
"""What may stand before a line that is shown, to replace the one before."""

_UNSEEN = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[\]P^_X][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # titles, links, other strings to the terminal
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)
_OF_TEXT = re.compile(_UNSEEN + "|[\x80-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_OF_BYTES = re.compile(_UNSEEN.encode() + rb"|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]")

READER_GONE = (errno.EPIPE, errno.EIO)
"""A pipe without a reader; a terminal that was closed."""


def printable(text: str) -> str:
    """``text`` without what a terminal would obey instead of showing it: control characters but for tabs and ends of
    lines, escape sequences, and the marks that turn the direction of what follows."""
    return _OF_TEXT.sub("", text)


def allow_escapes(stream: Any) -> None:
    """Whoever draws on a terminal with ``stream``, one of :func:`guard_standard_streams`, answers for what is in it."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if isinstance(raw, _Standard):
        raw.filtered = False


def show(stream: TextIO | None, text: str) -> None:
    """Write ``text`` to people now or not at all: never fails, never waits for more than a moment.

    Only what is :func:`printable` of it, after a :data:`CLEAR_LINE`, if it begins so."""
    start = CLEAR_LINE if text.startswith(CLEAR_LINE) else ""
    text = start + printable(text[len(start) :])
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


class _Standard(io.FileIO):
    """A terminal gets what is :func:`printable`; a file or a pipe gets everything."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.filtered = self.isatty()

    def write(self, data: ReadableBuffer) -> int:
        size = memoryview(data).nbytes
        left: Any = _OF_BYTES.sub(b"", bytes(data)) if self.filtered else data
        if len(left) == size:
            return self._write(data)
        while left:
            left = left[self._write(left) :]
        return size

    def _write(self, data: ReadableBuffer) -> int:
        """How many bytes of it are done with."""
        return super().write(data) or 0


class _Shown(_Standard):
    """What cannot be written is lost."""

    def _write(self, data: ReadableBuffer) -> int:
        with suppress(OSError):
            super()._write(data)
        return memoryview(data).nbytes


class _AskedFor(_Standard):
    """``BrokenPipeError`` when the reader has left, ``StorageError`` when what was asked for cannot be delivered."""

    def _write(self, data: ReadableBuffer) -> int:
        try:
            while (written := io.FileIO.write(self, data)) is None:  # whoever gave it to us made it non-blocking
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
    sys.stdout = _text(_AskedFor(1), sys.stdout)
    sys.stderr = _text(_Shown(2), sys.stderr)


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
