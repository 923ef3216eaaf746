"""What becomes of a task: one road for success, error and death. Pure.

Whatever happened to an assignment is first brought into one form, :class:`Ended`, by :func:`ended_by_report` (the child
answered) or :func:`ended_by_death` (it could not), and exactly one function, :func:`outcome_of`, turns that into the
:class:`~ttg.messages.Outcome` that is settled.

Identifiers of new tasks stay unique and short. What goes on after its predecessor is *the same chunk, continued*: its
counter rises (``c7``, ``c7+1``, ``c7+2``). Everything else is a branch and adds a letter: ``.r`` a retry, ``.b`` what
came before a suspicious slice, ``.0`` to ``.7`` its pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ttg.messages import (
    DeadLetter,
    Failure,
    Files,
    Outcome,
    Ranges,
    ResultHeader,
    Stored,
    Task,
    ranges_of,
    split_ranges,
)
from ttg.messages.rows import part_of
from ttg.spec import RunSpec
from ttg.worker.protocol import Report

PIECES = 8
CRASH_BUDGET = 3

ParametersOf = Callable[[Task, int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ended:
    """How an assignment ended: ``done`` in order of ``payload``, ``failures`` to charge, ``remainder`` to queue."""

    done: Ranges = ()
    payload: bytes = b""
    failures: tuple[Failure, ...] = ()
    remainder: tuple[Task, ...] = ()
    seconds: float = 0.0
    call_seconds: float = 0.0
    stored: Stored | None = None
    files: Files | None = None


@dataclass(frozen=True, slots=True)
class Death:
    """How a child died: ``kind`` as in :class:`~ttg.messages.Failure`, ``text`` one line, ``traceback`` as
    far as faulthandler could write one, ``output`` what the call had printed before."""

    kind: str
    text: str
    output: str = ""
    traceback: str = ""
    place: str = ""
    seconds: float = 0.0
    exit_code: int | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Executor:
    """Who worked on a task, and since when (Unix time); ``parameters_of`` gives the parameters of a dead letter."""

    worker: str
    slot: int
    started: float
    parameters_of: ParametersOf = field(default=lambda task, index: {}, repr=False)


# ---------------------------------------------------------------------------------------------- how it ended


def ended_by_report(task: Task, report: Report, payload: bytes) -> Ended:
    """The child answered."""
    rest = (continued(task, report.remaining),) if report.remaining else ()
    return Ended(
        report.done,
        payload,
        report.failures,
        rest,
        report.seconds,
        report.call_seconds,
        report.stored,
        report.files,
    )


def ended_by_death(task: Task, offset: int, count: int, death: Death) -> Ended:
    """The child died while it executed ``count`` parameters from position ``offset`` of the task.

    A single suspect is the culprit and is charged; several are split into pieces. Nothing was reported of the task, so
    its other parameters run again, uncharged.
    """
    before, rest = split_ranges(task.ranges, offset)
    suspects, after = split_ranges(rest, count)
    around = (*(_part(task, "b", r) for r in [before] if r), *(continued(task, r) for r in [after] if r))
    if count == 1:
        return Ended(failures=(_charged(suspects[0][0], death),), remainder=around, seconds=death.seconds)
    return Ended(remainder=(*around, *split_suspects(task, suspects)), seconds=death.seconds)


def ended_by_lost_workers(task: Task, deliveries: int) -> Ended | None:
    """What to do with a task instead of running it when it was handed out again and again; ``None``: run it.

    Workers died while they held it, perhaps because of it. It is split until single parameters are left, and each piece
    is executed exclusively; a single one that is then lost once more, with nothing beside it, is charged an attempt.
    """
    if deliveries < (CRASH_BUDGET - 1 if task.exclusive else CRASH_BUDGET):
        return None
    if task.count > 1 or not task.exclusive:
        return Ended(remainder=tuple(split_suspects(task, task.ranges, exclusive=True)))
    text = "the worker that executed it, and nothing else, was lost: it may end whole workers or machines"
    return Ended(failures=(_charged(task.ranges[0][0], Death("worker_lost", text)),))


def untouched(task: Task) -> Ended:
    """Nothing was done: the task goes back as it is, nobody is charged."""
    return Ended(remainder=(continued(task, task.ranges),))


def split_suspects(task: Task, suspects: Ranges, *, exclusive: bool = False) -> Iterator[Task]:
    """Up to :data:`PIECES` tasks of about equal size, each under one more bisect_depth than ``task``."""
    left = sum(stop - start for start, stop in suspects)
    for number in range(min(PIECES, left)):
        size = -(-left // (PIECES - number))
        piece, suspects = split_ranges(suspects, size)
        left -= size
        yield _part(task, str(number), piece, bisect_depth=task.bisect_depth + 1, exclusive=exclusive or task.exclusive)


# ---------------------------------------------------------------------------------------------- what becomes of it


def outcome_of(spec: RunSpec, task: Task, ended: Ended, by: Executor, now: float) -> Outcome:
    """Rows are recorded, failures tried again or given up, the remainder queued. ``now`` is Unix time."""
    dead, again = _judge(spec, task, ended.failures)
    letters = tuple(_dead_letter(spec, task, failure, by, now) for failure in dead)
    retries = (_retry(task, again),) if again else ()
    header = _header(task, ended, by, failed=len(again), dead=letters)
    return Outcome(header, ended.payload, retries, spec.retry.delay_ms, ended.remainder)


def dropped(task: Task, by: Executor) -> Outcome:
    """The end of a task whose run is over or unknown: it leaves the queue, and nothing follows."""
    return Outcome(_header(task, Ended(), by))


def given_back(task: Task, by: Executor) -> Outcome:
    """Nothing was done, and nothing need be known of the run: the task goes back as it is."""
    return Outcome(_header(task, Ended(), by), remainder=untouched(task).remainder)


def _header(
    task: Task, ended: Ended, by: Executor, *, failed: int = 0, dead: tuple[DeadLetter, ...] = ()
) -> ResultHeader:
    return ResultHeader(
        run=task.run,
        task=task.id,
        ranges=ended.done,
        attempt=task.attempt,
        worker=by.worker,
        slot=by.slot,
        started=by.started,
        seconds=ended.seconds,
        call_seconds=ended.call_seconds,
        failed=failed,
        dead=dead,
        identity=task.identity,
        epoch=task.epoch,
        stored=ended.stored,
        files=ended.files,
    )


def _judge(spec: RunSpec, task: Task, failures: Iterable[Failure]) -> tuple[list[Failure], list[Failure]]:
    """Failures that are final, and those that get another attempt."""
    dead: list[Failure] = []
    again: list[Failure] = []
    for failure in failures:
        final = failure.final or task.attempt > spec.retry.max_retries or _too_dangerous(task, failure)
        (dead if final else again).append(failure)
    return dead, again


def _too_dangerous(task: Task, failure: Failure) -> bool:
    """Each attempt of a parameter that kills whole workers costs several of them: it gets no more."""
    return failure.kind == "worker_lost" and task.bisect_depth >= CRASH_BUDGET


def _retry(task: Task, failures: list[Failure]) -> Task:
    lost = any(failure.kind == "worker_lost" for failure in failures)
    bisect_depth = task.bisect_depth + 1 if lost else 0
    ranges = ranges_of(sorted(failure.index for failure in failures))
    return _part(task, "r", ranges, bisect_depth=bisect_depth, exclusive=lost, attempt=task.attempt + 1)


def _dead_letter(spec: RunSpec, task: Task, failure: Failure, by: Executor, now: float) -> DeadLetter:
    parameters = by.parameters_of(task, failure.index)
    return DeadLetter(
        task.run,
        str(spec.function),
        failure.index,
        parameters,
        task.attempt,
        failure,
        by.worker,
        now,
        task.identity,
    )


def _charged(index: int, death: Death) -> Failure:
    return Failure(
        index=index,
        kind=death.kind,
        error=_ERRORS.get(death.kind, "ChildDied"),
        message=death.text,
        place=death.place,
        traceback=death.traceback,
        seconds=death.seconds,
        exit_code=death.exit_code,
        peak_memory_bytes=death.peak_memory_bytes,
        output=death.output,
    )


_ERRORS = {
    "exit": "ProcessExit",
    "signal": "ProcessKilled",
    "timeout": "Timeout",
    "memory": "MemoryLimit",
    "worker_lost": "WorkerLost",
}

# ---------------------------------------------------------------------------------------------- parts of a task


def continued(task: Task, ranges: Ranges) -> Task:
    """The rest of a task, on the same attempt."""
    base, _, count = task.id.rpartition("+")
    name = f"{base}+{int(count) + 1}" if base and count.isdecimal() else f"{task.id}+1"
    return _replace(task, id=name, ranges=ranges, rows=part_of(task.rows, task.ranges, ranges))


def _part(
    task: Task,
    letter: str,
    ranges: Ranges,
    *,
    bisect_depth: int = 0,
    exclusive: bool = False,
    attempt: int | None = None,
) -> Task:
    return _replace(
        task,
        id=f"{task.id}.{letter}",
        ranges=ranges,
        attempt=attempt or task.attempt,
        bisect_depth=bisect_depth,
        exclusive=exclusive,
        rows=part_of(task.rows, task.ranges, ranges),
    )


def _replace(task: Task, **changes: Any) -> Task:
    """Another task of the same run and epoch."""
    changed: Task = msgspec.structs.replace(task, **changes)
    return changed
