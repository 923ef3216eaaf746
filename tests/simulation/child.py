"""A slot's child in virtual time: says and does what the real one does, without a process.

It executes a simulated function: every call takes a while, and some parameters are poisoned in the ways of
:class:`Poison`.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ttg.clock import loop_time
from ttg.messages import Failure, indices_of, split_ranges
from ttg.messages.ranges import without
from ttg.results.encode import encode_rows
from ttg.worker.process import ChildOwner, Exit
from ttg.worker.protocol import Announced, Execute, Ready, Report, SetUp, Setup, StopEarly, ToChild

CHECKPOINT_SECONDS = 0.5
FOREVER = 1e9


class Poison(enum.Enum):
    """What a parameter does to those who execute it."""

    FAILS = "raises, always"
    FAILS_ONCE = "raises the first time"
    KILLS_CHILD = "ends its process, always"
    HANGS = "never returns"
    KILLS_WORKER = "takes the whole worker along, always"


def value(index: int) -> float:
    """What the simulated function returns."""
    return index * 1.5 + 1.0


class Fate(Protocol):
    """What the world knows of parameters."""

    def call_begins(self, index: int, task: str, child: SimulatedChild) -> float:
        """How long this call takes."""

    def reported(self, child: SimulatedChild) -> None:
        """The child hands over what it has executed."""

    def child_ends(self, child: SimulatedChild) -> None:
        """The child dies, or is no longer needed."""

    def poison(self, index: int) -> Poison | None:
        """What is wrong with this parameter, this time."""


@dataclass(eq=False)
class SimulatedChild:
    """See :class:`ttg.worker.process.ChildHandle`. ``on_poisoned_worker`` is called when a parameter kills it."""

    owner: ChildOwner
    fate: Fate
    pid: int
    slice_size: int
    start_seconds: float
    on_poisoned_worker: Callable[[], None]
    worker: str
    _inbox: asyncio.Queue[ToChild] = field(default_factory=asyncio.Queue)
    _stopped: set[int] = field(default_factory=set)
    _gone: bool = False

    def __post_init__(self) -> None:
        self._life = asyncio.get_running_loop().create_task(self._live())

    def send(self, message: ToChild, bulk: bytes = b"") -> None:
        if isinstance(message, StopEarly):
            self._stopped.update(message.numbers)
        else:
            self._inbox.put_nowait(message)

    def kill(self) -> None:
        self._end(-9)

    def close(self) -> None:
        self._end(0)

    def printed(self) -> str:
        return ""

    def memory_bytes(self, limit: int | None = None) -> int:
        return 0

    def _end(self, code: int) -> None:
        if not self._gone:
            self._gone = True
            self.fate.child_ends(self)
            self._life.cancel()
            asyncio.get_running_loop().call_soon(self.owner.on_exit, Exit(code, "last words"))

    async def _live(self) -> None:
        await asyncio.sleep(self.start_seconds)
        self.owner.on_message(Ready(), b"")
        while True:
            message = await self._inbox.get()
            if isinstance(message, Setup):
                self.owner.on_message(SetUp(message.run), b"")
            elif isinstance(message, Execute):
                await self._execute(message)

    async def _execute(self, assignment: Execute) -> None:
        """Slice by slice, until the end, the checkpoint, or a request to stop."""
        task, began, position = assignment.task, loop_time(), 0
        failures: list[Failure] = []
        indices = list(indices_of(task.ranges))
        while position < len(indices) and loop_time() - began < CHECKPOINT_SECONDS:
            if assignment.number in self._stopped:
                break
            part = indices[position : position + self.slice_size]
            self.owner.on_message(Announced(assignment.number, position, len(part), 0.0), b"")
            for index in part:
                await self._call(index, assignment, failures)
            position += len(part)
        done, remaining = split_ranges(task.ranges, position)
        done = without(done, {failure.index for failure in failures})
        seconds = loop_time() - began
        payload = encode_rows([value(index) for index in indices_of(done)]) if done else b""
        report = Report(assignment.number, done, tuple(failures), remaining, seconds, seconds / max(position, 1))
        self.fate.reported(self)
        self.owner.on_message(report, payload)

    async def _call(self, index: int, assignment: Execute, failures: list[Failure]) -> None:
        await asyncio.sleep(self.fate.call_begins(index, assignment.task.id, self))
        poison = self.fate.poison(index)
        if poison in (Poison.FAILS, Poison.FAILS_ONCE):
            failures.append(Failure(index, "exception", "ValueError", "poisoned", "simulated.py:1 (f)"))
        elif poison is Poison.HANGS:
            await asyncio.sleep(FOREVER)
        elif poison is not None:
            self.on_poisoned_worker() if poison is Poison.KILLS_WORKER else self._end(-11)
            await asyncio.sleep(FOREVER)
