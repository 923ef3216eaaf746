"""The calls of an executor, from the moment that they are made to the one that their futures are resolved.

To a coordinator this is source and sink of a run that grows: index by index, in the order of the calls. Nothing of it
is on disk: when the program ends, its futures end with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ttg.brokers.base import ResultMessage
from ttg.calls.errors import Resolution, resolution_of_letter, resolution_of_payload
from ttg.errors import MessageError
from ttg.messages import Ranges, ranges_of

TRIM_SECONDS = 1.0
TRIM_BYTES = 4 << 20
"""What was taken in is trimmed from the results log after so long, or so much."""


@dataclass(slots=True)
class Call:
    """A call that is not settled: its future, and its sealed pickle. ``name`` is the input that it needs, if any."""

    future: Future[Any]
    text: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """Everything up to the message at ``cursor`` was taken in."""

    cursor: str
    ranges: tuple[Ranges, ...] = ()
    dead: tuple[int, ...] = ()


def begins(future: Future[Any]) -> bool:
    """Whether it runs from now on at the latest: it was not cancelled, nor has the program settled it itself."""
    if future.done() and not future.cancelled():
        return False
    return future.running() or future.set_running_or_notify_cancel()


class CallQueue:
    """Calls for ``slots`` slots: as many run as soon as they are made. ``put`` from any thread; the rest is the
    coordinator's, on its loop. ``resolve`` is given each future that is settled, with what makes its result;
    ``on_empty`` is called when the queue is closed and all is settled; ``wake`` when there is more to do."""

    names = ("call",)
    computable = False
    at_hand = True

    def __init__(
        self, identity: str, key: bytes, inputs: Path, slots: int, resolve: Callable[[Call, Resolution], None]
    ) -> None:
        self.inputs = inputs
        self.size = 0
        self.dead_count = 0
        self.buffered_bytes = 0
        self.wake: Callable[[], None] = lambda: None
        self.on_empty: Callable[[], None] = lambda: None
        self._identity = identity
        self._key = key
        self._slots = slots
        self._resolve = resolve
        self._lock = threading.Lock()
        self._open: dict[int, Call] = {}
        self._closed = self._abandoned = False
        self._cursor = ""
        self._due_at: float | None = None

    # -- for who makes calls

    def put(self, call: Call) -> None:
        """One more, at the end. ``BrokenExecutor`` once the queue is abandoned: nobody would settle it."""
        with self._lock:
            if self._abandoned:
                raise BrokenExecutor("the executor has ended")
            if len(self._open) < self._slots:
                call.future.set_running_or_notify_cancel()
            self._open[self.size] = call
            self.size += 1
        self.wake()

    def close(self, *, cancel: bool = False) -> None:
        """No more will come. ``cancel``: those that no worker was given yet are cancelled."""
        if cancel:
            for call in list(self._open.values()):
                call.future.cancel()
        self._closed = True
        self.wake()

    def abandon(self) -> list[Call]:
        """What is not settled and never will be; nothing is taken any more."""
        with self._lock:
            self._abandoned = True
            left = list(self._open.values())
            self._open.clear()
        return left

    @property
    def pending(self) -> int:
        """How many are not settled."""
        return len(self._open)

    # -- source

    def encoded_columns(self, start: int, stop: int) -> Mapping[str, Sequence[Any]]:
        """What tasks carry. (msgspec writes bytes as base 64.)"""
        return {"call": [self._text_of(index) for index in range(start, stop)]}

    def _text_of(self, index: int) -> bytes:
        call = self._open.get(index)
        return call.text if call else b""  # settled since, by a worker that was thought to be lost

    # -- sink

    @property
    def done_count(self) -> int:
        """Settled or cancelled."""
        with self._lock:
            return self.size - len(self._open) - self.dead_count

    @property
    def complete(self) -> bool:
        """Nothing is open, and nothing will come."""
        return self._closed and not self._open

    def missing(self, start: int = 0, limit: int | None = None) -> Ranges:
        """Up to ``limit`` open indices from ``start`` on, for the workers now: from here on they run."""
        with self._lock:
            begin = start or next(iter(self._open), self.size)  # which passes over all that were settled
            wanted, found = limit if limit is not None else self.size, list[int]()
            for index in range(begin, self.size):
                if len(found) == wanted:
                    break
                call = self._open.get(index)
                if call is None:
                    continue
                if begins(call.future):
                    found.append(index)
                else:
                    del self._open[index]
        self.check_end()
        return ranges_of(found)

    def check_end(self) -> None:
        """Whether this was the last one."""
        if self.complete:
            self.on_empty()

    def lacking(self, ranges: Ranges) -> Ranges:
        """Those of them that are open."""
        return ranges_of([index for start, stop in ranges for index in range(start, stop) if index in self._open])

    def add(self, message: ResultMessage) -> None:
        """Resolve the futures of what has come. ``MessageError`` when it does not fit."""
        header = message.header
        if header.identity != self._identity:
            raise MessageError(f"expected a result of run {self._identity}, got one of another run: {header.run}")
        if header.ranges:
            self._add_results(header.ranges, message.payload)
        for letter in header.dead:
            if call := self._pop(letter.index):
                self.dead_count += 1
                self._resolve(call, resolution_of_letter(letter))
        self._cursor = message.cursor
        self.buffered_bytes += len(message.payload)
        self.check_end()

    def _add_results(self, ranges: Ranges, payload: Any) -> None:
        try:
            items = _decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise MessageError(f"expected results of calls: {error}") from error
        indices = [index for start, stop in ranges for index in range(start, stop)]
        if len(items) != len(indices):
            raise MessageError(f"expected {len(indices)} results of calls, got {len(items)}")
        for index, item in zip(indices, items, strict=True):
            if call := self._pop(index):
                self._resolve(call, resolution_of_payload(self._key, item))

    def _pop(self, index: int) -> Call | None:
        with self._lock:
            return self._open.pop(index, None)

    # -- nothing is written, but the results log is to be trimmed

    def due(self, now: float) -> bool:
        """Whether it is time."""
        if not self._cursor:
            return False
        self._due_at = now + TRIM_SECONDS if self._due_at is None else self._due_at
        return now >= self._due_at or self.buffered_bytes >= TRIM_BYTES

    def take(self) -> Taken | None:
        """What was taken in since the last time."""
        taken = Taken(self._cursor) if self._cursor else None
        self._cursor, self._due_at, self.buffered_bytes = "", None, 0
        return taken

    def write(self, batch: Taken) -> Taken:
        """Nothing to do: a future is not durable."""
        return batch

    def commit(self, written: Taken) -> None:
        """Nothing to do, either."""


_decoder = msgspec.msgpack.Decoder(list[bytes])
