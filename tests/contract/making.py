"""Messages for the contract tests, made short. The identity of a run is its id here, unless a test says otherwise."""

from __future__ import annotations

from ttg.brokers.base import Delivery, Settlement
from ttg.messages import DeadLetter, Failure, Outcome, Ranges, ResultHeader, Task


def task(number: int = 0, run: str = "r", **fields: object) -> Task:
    """A task of one index."""
    return Task(run, f"t{number}", ((number, number + 1),), **{"identity": run, **fields})  # type: ignore[arg-type]


def tasks(count: int, run: str = "r") -> list[Task]:
    return [task(number, run) for number in range(count)]


def header(of: Task, ranges: Ranges | None = None, dead: tuple[DeadLetter, ...] = ()) -> ResultHeader:
    """The header of a result for ``of``, by default for all of its indices."""
    kept = of.ranges if ranges is None else ranges
    return ResultHeader(
        of.run, of.id, kept, of.attempt, "w", slot=0, started=1.0, seconds=0.5, dead=dead, identity=of.identity
    )


def done(delivery: Delivery, payload: bytes = b"payload") -> Settlement:
    """The delivery, finished."""
    return Settlement(delivery, Outcome(header(delivery.task), payload))


def letter(index: int, run: str = "r") -> DeadLetter:
    failure = Failure(index, "exception", "ValueError", "no such thing", traceback="Traceback …")
    return DeadLetter(run, "m:f", index, {"x": index}, attempts=4, failure=failure, worker="w", at=1.0, identity=run)


def died(delivery: Delivery) -> Settlement:
    """The delivery, all of its parameters given up."""
    task = delivery.task
    letters = tuple(letter(index, task.run) for start, stop in task.ranges for index in range(start, stop))
    return Settlement(delivery, Outcome(header(task, (), letters)))
