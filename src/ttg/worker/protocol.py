"""What supervisor and child say to each other over their socket pair.

A frame is two lengths (4 bytes each, big endian), a small msgpack message, and raw bytes: the bulk (a run's
specification, a task's Arrow payload) is never encoded a second time. Both ends belong to the same installation, so
there are no versions; a frame that cannot be decoded means that user code wrote to the socket, and is a
:class:`~ttg.errors.MessageError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from ttg.errors import MessageError
from ttg.messages import Failure, Ranges, Task

_HEADER = struct.Struct("!II")
MAX_MESSAGE_BYTES = 1 << 30


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """Load a run, whose specification is the bulk; answered by :class:`SetUp` or :class:`Refused`."""

    run: str
    secret: bytes | None = None


class Assignment(msgspec.Struct, frozen=True, tag="assignment"):
    """Execute a task; answered by exactly one :class:`Report`, in order. ``number`` counts up over a child's life."""

    number: int
    task: Task


class StopEarly(msgspec.Struct, frozen=True, tag="stop_early"):
    """Report these with what they have: after the slice that is running, or with nothing if they still wait."""

    numbers: tuple[int, ...]


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """The run is over: let go of its function and space."""

    run: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The child is up and listens."""


class SetUp(msgspec.Struct, frozen=True, tag="set_up"):
    """The run's function and space are loaded."""

    run: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The run's function or space cannot be loaded; its assignments are reported as untouched."""

    run: str
    text: str


class Announced(msgspec.Struct, frozen=True, tag="announced"):
    """About to execute ``count`` parameters from position ``offset`` of the task, taking about ``seconds``.

    A ``count`` of 0: done with executing, about to encode what came before ``offset``; sent where calls have a time
    limit, so that encoding is not taken for a call.
    """

    number: int
    offset: int
    count: int
    seconds: float


class Report(msgspec.Struct, frozen=True, tag="report"):
    """What became of an assignment. The bulk is the Arrow payload with the rows of ``done``.

    ``done``, the indices of ``failures``, and ``remaining`` together are exactly the task. ``seconds`` is the time
    spent on it, ``call_seconds`` the mean time of a call.
    """

    number: int
    done: Ranges
    failures: tuple[Failure, ...]
    remaining: Ranges
    seconds: float
    call_seconds: float


ToChild = Setup | Assignment | StopEarly | Forget
FromChild = Ready | SetUp | Refused | Announced | Report

_encoder = msgspec.msgpack.Encoder()


def frame(message: ToChild | FromChild, bulk: bytes = b"") -> bytes:
    """The bytes of one frame."""
    body = _encoder.encode(message)
    return b"".join((_HEADER.pack(len(body), len(bulk)), body, bulk))


class FrameReader:
    """Cuts a stream of bytes into frames of ``kind`` (:data:`ToChild` or :data:`FromChild`)."""

    def __init__(self, kind: object) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[tuple[ToChild | FromChild, bytes]]:
        """Add bytes; yields each message that is complete now, with its bulk."""
        self._buffer += data
        position = 0
        while (end := self._end_of_frame(position)) is not None:
            yield self._cut(position, end)
            position = end
        del self._buffer[:position]

    def _end_of_frame(self, position: int) -> int | None:
        if len(self._buffer) - position < _HEADER.size:
            return None
        body, bulk = _HEADER.unpack_from(self._buffer, position)
        if body > MAX_MESSAGE_BYTES:
            raise MessageError(f"expected a frame of the worker's own protocol, got a length of {body} bytes")
        end: int = position + _HEADER.size + body + bulk
        return end if end <= len(self._buffer) else None

    def _cut(self, position: int, end: int) -> tuple[ToChild | FromChild, bytes]:
        start = position + _HEADER.size
        bulk = start + _HEADER.unpack_from(self._buffer, position)[0]
        try:
            message: ToChild | FromChild = self._decoder.decode(memoryview(self._buffer)[start:bulk].tobytes())
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MessageError(f"expected a message of the worker's own protocol: {error}") from error
        return message, bytes(memoryview(self._buffer)[bulk:end])
