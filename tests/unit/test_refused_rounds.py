"""A worker that refuses tasks finds those behind them, and does not spin when there are none."""

from __future__ import annotations

from ttg.messages import Task
from ttg.worker.refused_rounds import RefusedRounds


def task(index: int, again: int = 0) -> Task:
    return Task("r", f"c{index}+{again}", ((index, index + 1),), identity="i")


def rests(rounds: RefusedRounds, count: int, now: float = 0.0) -> list[float]:
    """How long each of ``count`` rounds through a queue of three is rested for, 1 ms a task."""
    found = []
    for again in range(count + 1):
        for index in range(3):
            now += 0.001 + rounds.rest_seconds(now)
            rounds.refused(task(index, again), now)
            if rest := rounds.rest_seconds(now):
                found.append(rest)
    return found


def test_it_goes_through_the_queue_without_a_rest() -> None:
    rounds = RefusedRounds()
    for index in range(1000):
        rounds.refused(task(index), now=index * 0.001)
        assert not rounds.rest_seconds(index * 0.001)


def test_it_rests_longer_after_each_round_in_which_nothing_was_for_it() -> None:
    found = rests(RefusedRounds(), 10)
    assert found[0] < 0.02
    assert found == sorted(found)
    assert 0.9 < found[-1] <= 1.0


def test_a_task_that_it_executes_begins_all_anew() -> None:
    rounds = RefusedRounds()
    rests(rounds, 10)
    rounds.accepted()
    assert not rounds.rest_seconds(0.0)
    assert rests(rounds, 1, now=100.0)[0] < 0.02


def test_a_long_queue_takes_a_fifth_of_its_time_at_most() -> None:
    rounds, now, rested = RefusedRounds(), 0.0, 0.0
    for again in range(20):
        for index in range(1000):
            rest = rounds.rest_seconds(now)
            now, rested = now + 0.001 + rest, rested + rest
            rounds.refused(task(index, again), now)
    assert rested / now > 0.7
