"""Tasks, and what became of them."""

from __future__ import annotations

from typing import Any

import msgspec

from ttg.messages.codec import Message
from ttg.messages.ranges import Ranges, check_ranges, count_indices, indices_of
from ttg.messages.rows import NO_ROWS
from ttg.messages.stored import Files, Stored


class Task(Message, frozen=True):
    """A piece of a run that one slot works on at once. It is of the run that has its ``identity``, and of no other that
    may go by the same id, and was submitted by the coordinator of ``epoch``.

    ``ranges`` are the indices to execute, ``attempt`` the attempt (1-based) that all of them are on: it rises when a
    *parameter* failed, never because a worker went away. ``bisect_depth`` counts how often this very piece took
    a child or a worker down with it; such a piece is bisected until the culprit stands by itself. One that took workers
    down is ``exclusive``: nothing else is in its worker's hands, so that nobody is blamed for its neighbour. ``rows``
    carries the parameters of spaces that cannot be computed, in the order of the indices, as
    :mod:`ttg.messages.rows` writes them.
    """

    run: str
    id: str
    ranges: Ranges
    attempt: int = 1
    bisect_depth: int = 0
    exclusive: bool = False
    rows: msgspec.Raw = NO_ROWS
    identity: str = ""
    epoch: int = 1

    def __post_init__(self) -> None:
        check_ranges(self.ranges)

    @property
    def count(self) -> int:
        """Number of parameters in this task."""
        return count_indices(self.ranges)

    @property
    def life(self) -> str:
        """``run/identity/epoch``: what a task has in common with those that are executed by the same specification."""
        return f"{self.run}/{self.identity}/{self.epoch}"

    @property
    def key(self) -> str:
        """``run/identity/id``: this task among all that there ever are."""
        return f"{self.run}/{self.identity}/{self.id}"


def identity_of_key(key: str) -> str:
    """The identity in a :attr:`Task.key`; nothing if it is none."""
    return key.split("/")[1] if key.count("/") >= 2 else ""


FAILURE_KINDS = ("exception", "exit", "signal", "timeout", "memory", "encoding", "worker_lost")


class Failure(Message, frozen=True):
    """Why one parameter failed in one attempt.

    ``kind`` is how it ended, one of :data:`FAILURE_KINDS`.
    ``output`` is what it printed to standard output and standard error, in order, shortened.
    ``place`` is ``file:line`` (function) of the innermost frame of the user's code; where there is none, of a program
    or a crash, it is the exit code or signal. Failures of equal ``error`` and ``place`` have the same cause.
    ``final``: the same would happen again anywhere, so there is no other attempt.
    """

    index: int
    kind: str
    error: str
    message: str
    place: str = ""
    traceback: str = ""
    seconds: float = 0.0
    exit_code: int | None = None
    peak_memory_bytes: int | None = None
    final: bool = False
    output: str = ""


class DeadLetter(Message, frozen=True):
    """A parameter given up after its last attempt, with its story: readable in a broker's UI.

    ``parameters`` are as :mod:`ttg.messages.parameters` writes them.
    """

    run: str
    function: str
    index: int
    parameters: dict[str, Any]
    attempts: int
    failure: Failure
    worker: str
    at: float
    identity: str = ""


class ResultHeader(Message, frozen=True):
    """What a settled task leaves in the results log, beside its Arrow payload.

    ``ranges`` are the indices whose rows are in the payload, in the payload's order. ``failed`` counts failures of this
    attempt that will be tried again; ``dead`` are the parameters given up. ``started`` is Unix time in seconds,
    ``seconds`` the time the child was busy with the piece, ``call_seconds`` the mean time of a call. With ``stored``
    the payload is an object in the run's store. ``files`` are those that the calls of ``ranges`` have left.
    """

    run: str
    task: str
    ranges: Ranges
    attempt: int
    worker: str
    slot: int
    started: float
    seconds: float
    call_seconds: float = 0.0
    failed: int = 0
    dead: tuple[DeadLetter, ...] = ()
    identity: str = ""
    epoch: int = 1
    stored: Stored | None = None
    files: Files | None = None

    @property
    def count(self) -> int:
        """Number of rows in the payload."""
        return count_indices(self.ranges)

    @property
    def finished(self) -> int:
        """Number of parameters that were tried, whatever came of it."""
        return self.count + len(self.dead) + self.failed


class Outcome(Message, frozen=True):
    """What became of one leased task, whichever way it ended; :meth:`Broker.settle` makes it true in one step.

    ``retries`` come back after the run's retry delay, ``remainder`` at once (nothing charged). Results, retries, dead
    letters and remainder together are exactly the indices of the task: ``check_complete`` says so.
    """

    header: ResultHeader
    payload: bytes = b""
    retries: tuple[Task, ...] = ()
    retry_delay_ms: int = 0
    remainder: tuple[Task, ...] = ()

    def check_complete(self, task: Task) -> None:
        """Raise ``AssertionError`` unless this outcome accounts for each index of ``task`` exactly once."""
        parts = [*indices_of(self.header.ranges), *(letter.index for letter in self.header.dead)]
        for piece in (*self.retries, *self.remainder):
            parts.extend(indices_of(piece.ranges))
        assert sorted(parts) == list(indices_of(task.ranges)), f"outcome of task {task.id} does not cover it"
