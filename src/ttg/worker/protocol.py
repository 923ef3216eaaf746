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
from ttg.messages import Failure, Files, Ranges, Stored, Task
from ttg.messages.rows import NO_ROWS

_HEADER = struct.Struct("!II")
MAX_MESSAGE_BYTES = 1 << 30

CALLER_PATH = "TTG_CALLER_PATH"
"""The variable that hands the ``sys.path`` of a script on to the local workers of its run and to their children."""


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """Load a run, whose specification is the bulk; answered by :class:`SetUp` or :class:`Refused`. ``run`` is the
    :attr:`~ttg.messages.Task.life` of its tasks: two runs may go by one id."""

    run: str
    secret: bytes | None = None

    def __repr__(self) -> str:
        return f"Setup({self.run!r})"


class Execute(msgspec.Struct, frozen=True, tag="execute"):
    """Execute a task, whose rows are the bulk; answered by exactly one :class:`Report`, in order. ``number`` counts up
    over a child's life. Made by :func:`executing`."""

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
    """The run's function and space are loaded. ``unshared`` says why its store cannot be used here."""

    run: str
    unshared: str = ""


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


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """What was computed of a task is held until the run's store takes it; ``text`` says why it does not."""

    number: int
    text: str


class Report(msgspec.Struct, frozen=True, tag="report"):
    """What became of an assignment. The bulk is the Arrow payload with the rows of ``done``.

    ``done``, the indices of ``failures``, and ``remaining`` together are exactly the task. ``seconds`` is the time
    spent on it, ``call_seconds`` the mean time of a call. If the payload is ``stored``, there is no bulk.
    """

    number: int
    done: Ranges
    failures: tuple[Failure, ...]
    remaining: Ranges
    seconds: float
    call_seconds: float
    stored: Stored | None = None
    files: Files | None = None


ToChild = Setup | Execute | StopEarly | Forget
FromChild = Ready | SetUp | Refused | Announced | Waiting | Report

_encoder = msgspec.msgpack.Encoder()


def executing(number: int, task: Task) -> tuple[Execute, bytes | msgspec.Raw]:
    """The message and its bulk: the rows that a task carries are JSON, and stay it."""
    if not task.rows:
        return Execute(number, task), b""
    return Execute(number, msgspec.structs.replace(task, rows=NO_ROWS)), task.rows


def with_rows(task: Task, bulk: bytes) -> Task:
    """The task as it was given to :func:`executing`."""
    return msgspec.structs.replace(task, rows=msgspec.Raw(bulk)) if bulk else task


def frame(message: ToChild | FromChild, bulk: bytes | msgspec.Raw = b"") -> bytes:
    """The bytes of one frame."""
    body, rest = _encoder.encode(message), memoryview(bulk)
    return b"".join((_HEADER.pack(len(body), rest.nbytes), body, rest))


class FrameReader:
    """Cuts a stream of bytes into frames of ``kind`` (:data:`ToChild` or :data:`FromChild`)."""

    def __init__(self, kind: object) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._head = bytearray()
        self._message: ToChild | FromChild | None = None
        self._bulk: list[memoryview] = []
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[tuple[ToChild | FromChild, bytes]]:
        """Add bytes; yields each message that is complete now, with its bulk, which is copied once however it comes."""
        view = memoryview(data)
        while True:
            if self._message is None:
                view = self._take_message(view)
            if self._message is None:
                return
            self._bulk.append(view[: self._missing])
            view = view[len(self._bulk[-1]) :]
            self._missing -= len(self._bulk[-1])
            if self._missing:
                return
            complete = self._message, b"".join(self._bulk)
            self._message, self._bulk = None, []
            yield complete

    def _take_message(self, view: memoryview) -> memoryview:
        """Read lengths and message, as far as they are there; returns what follows."""
        for _ in ("lengths", "message"):
            taken = view[: self._head_bytes() - len(self._head)]
            self._head += taken
            view = view[len(taken) :]
        if len(self._head) == self._head_bytes():
            self._missing = _HEADER.unpack_from(self._head)[1]
            self._message = self._decoded(bytes(self._head[_HEADER.size :]))
            self._head.clear()
        return view

    def _head_bytes(self) -> int:
        """How long lengths and message are together, as far as that is known."""
        if len(self._head) < _HEADER.size:
            return _HEADER.size
        body: int = _HEADER.unpack_from(self._head)[0]
        if body > MAX_MESSAGE_BYTES:
            raise MessageError(f"expected a frame of the worker's own protocol, got a length of {body} bytes")
        return _HEADER.size + body

    def _decoded(self, body: bytes) -> ToChild | FromChild:
        try:
            message: ToChild | FromChild = self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MessageError(f"expected a message of the worker's own protocol: {error}") from error
        return message
