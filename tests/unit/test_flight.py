"""What a slot leases ahead, and what it leaves to others. Time is given, nothing waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ttg.brokers.base import Delivery
from ttg.messages import Task
from ttg.planner import Speed
from ttg.worker.flight import MAX_IN_FLIGHT, OVERRUN_SECONDS, UNKNOWN_SECONDS, Flight, Held


def run_of(call_seconds: float | None = None) -> Any:
    """A run whose speed is known, or not."""
    return SimpleNamespace(speed=Speed() if call_seconds is None else Speed(call_seconds, 1))


def held(run: Any, count: int = 1, number: int = 0) -> Held:
    return Held(Delivery(Task("r", f"{number}", ((0, count),)), None, 1), run)


def filled(run: Any, tasks: int, count: int = 1) -> Flight:
    flight = Flight()
    for number in range(tasks):
        flight.add(held(run, count, number))
    return flight


def test_of_an_unknown_run_one_task_waits_behind_a_pilot() -> None:
    assert [filled(run_of(), tasks).room(0.0) for tasks in range(4)] == [1, 1, 0, 0]


def test_of_an_unknown_run_nothing_waits_behind_a_large_task() -> None:
    assert filled(run_of(), 1, count=300).room(0.0) == 0


def test_short_tasks_of_the_past_do_not_make_a_slot_hoard_those_of_an_unknown_run() -> None:
    flight = Flight()
    flight.saw(1e-4)
    flight.add(held(run_of()))
    assert flight.room(0.0) == 1
    flight.add(held(run_of()))
    assert flight.room(0.0) == 0


def test_one_long_task_is_enough_to_know_that_tasks_are_long() -> None:
    flight = Flight()
    for _ in range(100):
        flight.saw(1e-4)
    flight.saw(1.0)
    assert flight.room(0.0) == 1


def test_room_for_short_tasks_grows_step_by_step() -> None:
    run, flight = run_of(1e-4), Flight()
    flight.saw(1e-4)
    steps = []
    while room := flight.room(0.0):
        steps.append(room)
        for number in range(room):
            flight.add(held(run, number=number))
    assert steps[:3] == [2, 4, 8]
    assert len(flight.queue) == MAX_IN_FLIGHT


def test_there_is_room_shortly_before_the_head_is_done() -> None:
    flight = filled(run_of(1e-3), 1, count=1000)
    flight.saw(1.0)
    head = flight.head
    assert head is not None
    head.began = 10.0
    assert flight.room(10.0) == 0
    due = flight.room_in(10.0)
    assert 0.9 < due < 1.0
    assert flight.room(10.0 + due + 1e-9) == 1


def test_a_head_that_takes_too_long_may_take_for_ever() -> None:
    flight = filled(run_of(1e-3), 2)
    head = flight.head
    assert head is not None
    head.began = 10.0
    late = 10.0 + head.estimate_seconds + OVERRUN_SECONDS
    assert not flight.is_overdue(late - 0.01)
    assert flight.is_overdue(late + 0.01)
    assert flight.backlog_seconds(late + 0.01) == UNKNOWN_SECONDS
    assert flight.room(late + 0.01) == 0


def test_the_backlog_is_empty_when_everything_is_taken() -> None:
    flight = filled(run_of(0.25), 3)
    assert round(flight.backlog_seconds(0.0), 2) == 0.75
    while flight.head:
        flight.take_head()
    assert flight.backlog_seconds(0.0) == 0.0


def test_unwanted_tasks_are_dropped_with_their_time() -> None:
    flight = filled(run_of(0.25), 3)
    for unwanted in flight.others():
        unwanted.wanted = False
    flight.drop_unwanted()
    assert len(flight.queue) == 1
    assert round(flight.backlog_seconds(0.0), 2) == 0.25


def test_an_estimate_follows_what_is_learned() -> None:
    run, flight = run_of(), Flight()
    flight.add(held(run, 100))
    run.speed = Speed(0.01, 1)
    assert flight.head is not None
    flight.estimate(flight.head)
    assert round(flight.backlog_seconds(0.0), 1) == 1.0
