"""What becomes of a task, whichever way it ended: nothing lost, nothing doubled, only single parameters blamed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg.messages import Failure, Outcome, Ranges, Task, indices_of, ranges_of
from ttg.messages.rows import NO_ROWS, packed
from ttg.spec import FunctionRef, RetryPolicy, RunSpec
from ttg.worker.outcome import (
    PIECES,
    Death,
    Ended,
    Executor,
    continued,
    ended_by_death,
    ended_by_lost_workers,
    ended_by_report,
    outcome_of,
    split_suspects,
    untouched,
)
from ttg.worker.protocol import Report

DEATH = Death("signal", "the process was ended by SIGSEGV", exit_code=-11)
BY = Executor("w", 0, 1.0, lambda task, index: {"i": index})


def spec(max_retries: int = 3) -> RunSpec:
    retry = RetryPolicy(max_retries, 100)
    return RunSpec("run", FunctionRef("module", "m", "f"), {}, 1_000, ("i",), retry=retry)


def settle(task: Task, ended: Ended, max_retries: int = 3) -> Outcome:
    outcome = outcome_of(spec(max_retries), task, ended, BY, 2.0)
    outcome.check_complete(task)
    return outcome


def ids(outcome: Outcome) -> list[str]:
    return [task.id for task in (*outcome.retries, *outcome.remainder)]


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    indices = draw(st.sets(st.integers(0, 300), min_size=1, max_size=80))
    rows = packed({"i": sorted(indices)}) if draw(st.booleans()) else NO_ROWS
    attempt, bisect_depth = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    return Task(
        "run", draw(st.sampled_from(["c1", "c1+3", "c1.r+2"])), ranges_of(sorted(indices)), attempt, bisect_depth, rows
    )


@st.composite
def ends(draw: st.DrawFn) -> tuple[Task, Ended]:
    """A task and any way for it to end."""
    task = draw(tasks())
    way = draw(st.sampled_from(["report", "death", "lost workers", "untouched"]))
    if way == "death":
        offset = draw(st.integers(0, task.count - 1))
        return task, ended_by_death(task, offset, draw(st.integers(1, task.count - offset)), DEATH)
    if way == "lost workers":
        return task, ended_by_lost_workers(task, 3) or untouched(task)
    return task, untouched(task) if way == "untouched" else ended_by_report(task, draw(reports(task)), b"")


@st.composite
def reports(draw: st.DrawFn, task: Task) -> Report:
    indices = list(indices_of(task.ranges))
    executed = draw(st.integers(0, len(indices)))
    failed = draw(st.sets(st.sampled_from(indices[:executed] or [-1]))) - {-1}
    done = ranges_of(index for index in indices[:executed] if index not in failed)
    failures = tuple(Failure(index, "exception", "E", "m") for index in sorted(failed))
    return Report(1, done, failures, ranges_of(indices[executed:]), 1.0, 0.1)


@given(ends(), st.integers(0, 4))
def test_every_index_is_accounted_for_exactly_once(end: tuple[Task, Ended], max_retries: int) -> None:
    task, ended = end
    outcome = settle(task, ended, max_retries)

    assert len(set(ids(outcome)) | {task.id}) == len(ids(outcome)) + 1, "new tasks have new names"
    assert all(retry.attempt == task.attempt + 1 for retry in outcome.retries)
    assert all(rest.attempt == task.attempt for rest in outcome.remainder)
    for piece in (*outcome.retries, *outcome.remainder):
        assert not task.rows or piece.rows == packed({"i": [*indices_of(piece.ranges)]})


@given(tasks(), st.data())
def test_a_death_blames_nobody_but_a_single_suspect(task: Task, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, task.count - 1))
    count = data.draw(st.integers(1, task.count - offset))
    ended = ended_by_death(task, offset, count, DEATH)

    suspects = list(indices_of(task.ranges))[offset : offset + count]
    assert [failure.index for failure in ended.failures] == (suspects if count == 1 else [])
    pieces = [piece for piece in ended.remainder if piece.bisect_depth > task.bisect_depth]
    assert len(pieces) == (min(count, PIECES) if count > 1 else 0)
    if pieces:
        sizes = [piece.count for piece in pieces]
        assert max(sizes) - min(sizes) <= 1
        assert [index for piece in pieces for index in indices_of(piece.ranges)] == suspects


@given(st.integers(1, 500))
def test_splitting_again_and_again_reaches_single_parameters(size: int) -> None:
    """From any size, a culprit stands alone after at most one split per power of eight."""
    task, splits = Task("run", "c", ((0, size),)), 0
    while task.count > 1:
        task, splits = max(split_suspects(task, task.ranges), key=lambda piece: piece.count), splits + 1
    assert PIECES ** (splits - 1) < size or splits == 0


def test_a_failure_becomes_a_delayed_retry_and_on_its_last_attempt_a_dead_letter() -> None:
    failures = (Failure(2, "exception", "E", "m"), Failure(4, "exception", "E", "m"))
    first = Task("run", "c", ((0, 5),))
    outcome = settle(first, Ended(done=((0, 2), (3, 4)), payload=b"rows", failures=failures), max_retries=1)

    (retry,) = outcome.retries
    assert (retry.ranges, retry.attempt, outcome.retry_delay_ms) == (((2, 3), (4, 5)), 2, 100)
    assert (outcome.header.failed, outcome.header.dead, outcome.payload) == (2, (), b"rows")

    outcome = settle(retry, Ended(failures=failures), max_retries=1)
    assert not outcome.retries
    assert [(letter.index, letter.parameters, letter.attempts) for letter in outcome.header.dead] == [
        (2, {"i": 2}, 2),
        (4, {"i": 4}, 2),
    ]


def test_a_task_that_outlives_its_workers_is_split_and_a_single_one_is_charged() -> None:
    chunk, single = Task("run", "c", ((0, 100),)), Task("run", "c.0", ((7, 8),))

    assert ended_by_lost_workers(chunk, 2) is None
    pieces = settle(chunk, ended_by_lost_workers(chunk, 3) or Ended()).remainder
    assert len(pieces) == PIECES
    assert all(piece.exclusive for piece in pieces)
    (alone,) = settle(single, ended_by_lost_workers(single, 3) or Ended()).remainder
    assert (alone.ranges, alone.exclusive, alone.attempt) == (single.ranges, True, 1)
    assert ended_by_lost_workers(alone, 1) is None
    ended = ended_by_lost_workers(alone, 2)
    assert ended is not None
    assert [failure.kind for failure in ended.failures] == ["worker_lost"]
    (retry,) = settle(alone, ended).retries
    assert (retry.bisect_depth, retry.exclusive) == (2, True)


def test_a_suspicious_piece_has_one_worker_less_to_lose_and_soon_no_more_attempts() -> None:
    single = Task("run", "c.0", ((7, 8),), bisect_depth=3, exclusive=True)
    ended = ended_by_lost_workers(single, 2)
    assert ended is not None
    assert len(settle(single, ended).header.dead) == 1


@pytest.mark.parametrize(
    ("name", "expected"), [("c7", "c7+1"), ("c7+1", "c7+2"), ("c7+1.r", "c7+1.r+1"), ("a+b", "a+b+1")]
)
def test_what_goes_on_counts_up(name: str, expected: str) -> None:
    ranges: Ranges = ((0, 3),)
    assert continued(Task("run", name, ranges), ranges).id == expected


def test_a_final_failure_gets_no_other_attempt() -> None:
    final, passing = (Failure(index, "exception", "TypeError", "", final=index == 0) for index in (0, 1))
    outcome = settle(Task("run", "c", ((0, 2),)), Ended(failures=(final, passing)))
    assert [letter.index for letter in outcome.header.dead] == [0]
    assert [task.ranges for task in outcome.retries] == [((1, 2),)]
