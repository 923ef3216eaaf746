"""The messages that travel through a broker: frozen, versionless, strictly decoded.

An unknown field or a wrong type is a :class:`~ttg.errors.MessageError` that ends with the path of the offending field.
JSON everywhere, so that a person can read a task, an event or a dead letter in a broker's own tools; only the results'
payload is binary (one Arrow IPC stream per settled task).

Indices travel as **ranges**: a list of half-open ``[start, stop)`` pairs, ascending and disjoint. A fresh chunk has one
range; what is left after a failure, a checkpoint or a crash has several. There is no second notation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from ttg.errors import MessageError

Ranges = tuple[tuple[int, int], ...]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything that travels; subclasses are plain data."""


# ---------------------------------------------------------------------------------------------- tasks


class Task(Message, frozen=True):
    """A piece of a run that one slot works on at once.

    ``ranges`` are the indices to execute, ``attempt`` the attempt (1-based) that all of them are on: it rises when a
    *parameter* failed, never because a worker went away. ``suspicion`` counts how often this very piece took a child or
    a worker down with it; a suspicious piece is split until the culprit stands alone. One that took workers down is
    executed ``alone``: nothing else in its worker's hands, so that nobody is blamed for its neighbour. ``rows`` carries the parameter
    dicts of spaces that cannot be computed, in the order of the indices.
    """

    run: str
    id: str
    ranges: Ranges
    attempt: int = 1
    suspicion: int = 0
    alone: bool = False
    rows: tuple[dict[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        check_ranges(self.ranges)
        if self.rows is not None and len(self.rows) != self.count:
            raise ValueError(f"expected {self.count} rows for {self.count} indices, got {len(self.rows)}")

    @property
    def count(self) -> int:
        """Number of parameters in this task."""
        return count_indices(self.ranges)


class Failure(Message, frozen=True):
    """Why one parameter failed in one attempt.

    ``kind`` is how it ended: ``exception``, ``exit``, ``signal``, ``timeout``, ``memory``, ``encoding`` or
    ``worker_lost``.
    ``place`` is ``file:line`` (function) of the innermost frame of the user's code; failures with equal ``error`` and
    ``place`` have the same cause.
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


class DeadLetter(Message, frozen=True):
    """A parameter given up after its last attempt, with its story: readable in a broker's UI."""

    run: str
    target: str
    index: int
    parameters: dict[str, Any]
    attempts: int
    failure: Failure
    worker: str
    at: float


class ResultHeader(Message, frozen=True):
    """What a settled task leaves in the results log, beside its Arrow payload.

    ``ranges`` are the indices whose rows are in the payload, in the payload's order. ``failed`` counts failures of this
    attempt that will be tried again; ``dead`` are the parameters given up. ``started`` is Unix time in seconds,
    ``seconds`` the time the child was busy with the piece, ``call_seconds`` the mean time of a call.
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

    @property
    def count(self) -> int:
        """Number of rows in the payload."""
        return count_indices(self.ranges)


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


# ---------------------------------------------------------------------------------------------- runs


class RunRecord(Message, frozen=True):
    """What the broker knows of a run: its frozen specification (JSON of :class:`ttg.spec.RunSpec`) and its state.

    ``state`` is ``active``, ``cancelled`` or ``finished``. Workers drop tasks of runs that are not active.
    """

    run: str
    spec: msgspec.Raw
    state: str = "active"


# ---------------------------------------------------------------------------------------------- events


class Event(Message, frozen=True, tag_field="event", kw_only=True):
    """Something that happened, for people and monitors. ``at`` is Unix time in seconds, ``source`` who says so."""

    at: float
    source: str


class RunStarted(Event, frozen=True, tag="run_started"):
    """A coordinator took a run up (``resumed``: again). ``size`` is N, ``settled`` what was done before."""

    run: str
    target: str
    size: int
    settled: int = 0
    resumed: bool = False
    names: tuple[str, ...] = ()


class RunProgress(Event, frozen=True, tag="run_progress"):
    """The ledger's own figures, about once a second: committed state, never a guess from queue lengths."""

    run: str
    size: int
    done: int
    dead: int
    retrying: int
    submitted: int
    chunks_settled: int
    rate: float
    eta_seconds: float | None
    workers: int


class RunEnded(Event, frozen=True, tag="run_ended"):
    """A coordinator let go of a run. ``status``: one of finished, finished_with_dead_letters, interrupted, cancelled,
    failed."""

    run: str
    status: str
    done: int
    dead: int
    seconds: float


class SlotState(Message, frozen=True):
    """What one slot is doing now. ``state``: starting, idle, busy, stopping. ``since`` is Unix time."""

    slot: int
    state: str
    since: float
    pid: int | None = None
    run: str | None = None
    task: str | None = None
    done: int = 0
    total: int = 0
    memory_bytes: int = 0


class WorkerHeartbeat(Event, frozen=True, tag="worker_heartbeat"):
    """A worker is alive, every ``interval`` seconds. ``holding`` are the tasks ("run/task") it holds leases on."""

    worker: str
    host: str
    pid: int
    state: str
    interval: float
    slots: tuple[SlotState, ...] = ()
    holding: tuple[str, ...] = ()
    done: int = 0
    failed: int = 0
    tasks: int = 0
    started: float = 0.0
    memory_bytes: int = 0


class WorkerStopped(Event, frozen=True, tag="worker_stopped"):
    """A worker said goodbye. ``reason``: finished, drained, gave_up."""

    worker: str
    reason: str
    tasks: int
    done: int


class WorkerLost(Event, frozen=True, tag="worker_lost"):
    """Another worker took over ``tasks`` tasks of a dead or silent one, ``after_seconds`` after it was last heard of.

    ``how`` is ``connection`` (it is gone from the broker's client list) or ``lease`` (its lease ran out) or
    ``redelivered`` (the broker saw the connection close).
    """

    worker: str
    tasks: int
    after_seconds: float
    how: str


class TaskSettled(Message, frozen=True):
    """One bar of the timeline: which slot worked on which task from when to when, and what came of it.

    ``deliveries`` is the delivery's own: more than 1 means the task was taken over from somebody.
    """

    run: str
    task: str
    slot: int
    started: float
    seconds: float
    done: int
    failed: int = 0
    dead: int = 0
    attempt: int = 1
    deliveries: int = 1


class TasksSettled(Event, frozen=True, tag="tasks_settled"):
    """Tasks that a worker settled since its last such event (batched: a few per second at most)."""

    worker: str
    tasks: tuple[TaskSettled, ...]


class ParametersFailed(Event, frozen=True, tag="parameters_failed"):
    """Failures by cause since the last such event. ``sample`` is one of ``count`` alike, ``dead`` of them final."""

    run: str
    worker: str
    count: int
    dead: int
    sample: Failure


class ChildDied(Event, frozen=True, tag="child_died"):
    """A slot's child process ended unasked. ``suspects`` parameters are being looked into."""

    worker: str
    slot: int
    kind: str
    text: str
    run: str
    task: str
    suspects: int


class TargetRefused(Event, frozen=True, tag="target_refused"):
    """A worker cannot or may not run a run's function. ``lasting``: it would be refused everywhere (it does not load),
    so the run had better end; otherwise it is this worker that was not started for it."""

    run: str
    worker: str
    text: str
    lasting: bool = True


class TasksResubmitted(Event, frozen=True, tag="tasks_resubmitted"):
    """The coordinator submitted again what the broker no longer had."""

    run: str
    parameters: int
    reason: str


class BrokerTrouble(Event, frozen=True, tag="broker_trouble"):
    """A connection was lost, regained, or the broker refuses data. ``text`` is one line for people."""

    text: str
    recovered: bool = False


class MessageSetAside(Event, frozen=True, tag="message_set_aside"):
    """A message that could not be decoded was moved to the dead letters and left alone."""

    queue: str
    reason: str


class FaultInjected(Event, frozen=True, tag="fault_injected"):
    """A demo or a test broke something on purpose."""

    fault: str
    text: str


AnyEvent = (
    RunStarted
    | RunProgress
    | RunEnded
    | WorkerHeartbeat
    | WorkerStopped
    | WorkerLost
    | TasksSettled
    | ParametersFailed
    | ChildDied
    | TargetRefused
    | TasksResubmitted
    | BrokerTrouble
    | MessageSetAside
    | FaultInjected
)

# ---------------------------------------------------------------------------------------------- codec

M = TypeVar("M")

_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(message: msgspec.Struct) -> bytes:
    """JSON bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes | str | memoryview, kind: type[M] | Any) -> M:
    """Decode JSON into ``kind``; anything unexpected is a :class:`MessageError` naming the field."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind, strict=True)
    try:
        message: M = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        name = getattr(kind, "__name__", "event")
        raise MessageError(f"expected a {name}: {error}") from error
    return message


def decode_event(data: bytes) -> AnyEvent:
    """Decode one entry of the events log."""
    event: AnyEvent = decode(data, AnyEvent)
    return event


# ---------------------------------------------------------------------------------------------- ranges


def check_ranges(ranges: Ranges) -> None:
    """Raise ``ValueError`` unless ``ranges`` are non-empty, ascending and disjoint half-open pairs of indices."""
    end = 0
    for start, stop in ranges:
        if not end <= start < stop:
            raise ValueError(f"expected ascending, disjoint [start, stop) pairs, got [{start}, {stop}] after {end}")
        end = stop


def count_indices(ranges: Iterable[tuple[int, int]]) -> int:
    """Number of indices in ``ranges``."""
    return sum(stop - start for start, stop in ranges)


def indices_of(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Each index of ``ranges``, in order."""
    for start, stop in ranges:
        yield from range(start, stop)


def ranges_of(indices: Iterable[int]) -> Ranges:
    """Ascending indices, compressed to ranges.

    >>> ranges_of([1, 2, 3, 7])
    ((1, 4), (7, 8))
    """
    ranges: list[tuple[int, int]] = []
    start = stop = None
    for index in indices:
        if index == stop:
            stop += 1
            continue
        if start is not None and stop is not None:
            ranges.append((start, stop))
        start, stop = index, index + 1
    if start is not None and stop is not None:
        ranges.append((start, stop))
    return tuple(ranges)


def split_ranges(ranges: Ranges, count: int) -> tuple[Ranges, Ranges]:
    """The first ``count`` indices of ``ranges``, and the rest.

    >>> split_ranges(((0, 4), (8, 10)), 5)
    (((0, 4), (8, 9)), ((9, 10),))
    """
    head: list[tuple[int, int]] = []
    for position, (start, stop) in enumerate(ranges):
        if count >= stop - start:
            head.append((start, stop))
            count -= stop - start
            continue
        if count == 0:
            return tuple(head), ranges[position:]
        head.append((start, start + count))
        return tuple(head), ((start + count, stop), *ranges[position + 1 :])
    return tuple(head), ()
