"""What a slot leases ahead, and what it leaves to others. Time is given, nothing waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ttg.brokers.base import Delivery
from ttg.messages import Task
from ttg.planner import Speed
from ttg.worker.assignments import MAX_ASSIGNMENTS, OVERRUN_SECONDS, UNKNOWN_SECONDS, Assignment, Assignments


def run_of(call_seconds: float | None = None) -> Any:
    """A run whose speed is known, or not."""
    return SimpleNamespace(speed=Speed() if call_seconds is None else Speed(call_seconds, 1))


def assignment(run: Any, count: int = 1, number: int = 0) -> Assignment:
    return Assignment(Delivery(Task("r", f"{number}", ((0, count),)), None, 1), run)


def filled(run: Any, tasks: int, count: int = 1) -> Assignments:
    assignments = Assignments()
    for number in range(tasks):
        assignments.append(assignment(run, count, number))
    return assignments


def done(run: Any, count: int = 1) -> Assignments:
    """A queue whose only task was executed."""
    assignments = filled(run, 1, count)
    assignments.pop()
    return assignments


def test_of_an_unknown_run_one_task_waits_behind_a_pilot() -> None:
    assert [filled(run_of(), tasks).room(0.0) for tasks in range(4)] == [1, 1, 0, 0]


def test_of_an_unknown_run_nothing_waits_behind_a_large_task() -> None:
    assert filled(run_of(), 1, count=300).room(0.0) == 0


def test_short_tasks_of_the_past_do_not_make_a_slot_hoard_those_of_an_unknown_run() -> None:
    assignments = done(run_of(1e-4))
    assignments.append(assignment(run_of()))
    assert assignments.room(0.0) == 1
    assignments.append(assignment(run_of()))
    assert assignments.room(0.0) == 0


def test_one_long_task_is_enough_to_know_that_tasks_are_long() -> None:
    run = run_of(1e-4)
    run.speed = Speed(1e-4, 100).after(1, 1.0)
    assert done(run).room(0.0) == 1


def test_the_next_task_is_taken_for_one_like_the_last() -> None:
    run = run_of(1e-3)
    assert [done(run, count).room(0.0) for count in (1, 20, 1000)] == [2, 2, 1]


def test_room_for_short_tasks_grows_step_by_step() -> None:
    run = run_of(1e-4)
    assignments, steps = done(run), []
    while room := assignments.room(0.0):
        steps.append(room)
        for number in range(room):
            assignments.append(assignment(run, number=number))
    assert steps[:3] == [2, 4, 8]
    assert len(assignments.queue) == MAX_ASSIGNMENTS


def test_there_is_room_shortly_before_the_head_is_done() -> None:
    assignments = filled(run_of(1e-3), 1, count=1000)
    assignments.begin(10.0, 0.0)
    assert assignments.room(10.0) == 0
    due = assignments.room_in(10.0)
    assert 0.9 < due < 1.0
    assert assignments.room(10.0 + due + 1e-9) == 1


def test_a_head_that_takes_too_long_may_take_for_ever() -> None:
    assignments = filled(run_of(1e-3), 2)
    late = 10.0 + assignments.begin(10.0, 0.0).estimate_seconds + OVERRUN_SECONDS
    assert not assignments.is_overdue(late - 0.01)
    assert assignments.is_overdue(late + 0.01)
    assert assignments.backlog_seconds(late + 0.01) == UNKNOWN_SECONDS
    assert assignments.room(late + 0.01) == 0


def test_the_backlog_is_empty_when_everything_is_taken() -> None:
    assignments = filled(run_of(0.25), 3)
    assert round(assignments.backlog_seconds(0.0), 2) == 0.75
    while assignments.head:
        assignments.pop()
    assert assignments.backlog_seconds(0.0) == 0.0


def test_cancelled_tasks_are_dropped_with_their_time() -> None:
    assignments = filled(run_of(0.25), 3)
    for cancelled in list(assignments.queue)[1:]:
        cancelled.cancelled = True
    assignments.drop_cancelled()
    assert len(assignments.queue) == 1
    assert round(assignments.backlog_seconds(0.0), 2) == 0.25


def test_an_estimate_follows_what_is_learned() -> None:
    run, assignments = run_of(), Assignments()
    assignments.append(assignment(run, 100))
    run.speed = Speed(0.01, 1)
    assignments.begin(0.0, 0.0)
    assert round(assignments.backlog_seconds(0.0), 1) == 1.0
