"""The estimate of the end: how wrong it is over whole runs on a modelled fleet, and what it says at their ends."""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ttg.messages import SlotState, WorkerHeartbeat
from ttg.planner import Planner
from ttg.run.fleet import Fleet
from ttg.run.pace import Estimate, Pace, Retries

LOOK_SECONDS, BEAT_SECONDS, DELAY_SECONDS = 0.5, 1.0, 5.0


@dataclass
class Model:
    """Workers with a slot each, on which calls of about ``seconds`` run, in pieces as the planner cuts them. A share
    of the calls is ``failing`` the first time. Heartbeats come each second, as they do."""

    seconds: float
    size: int
    workers: int
    failing: float = 0.0
    leave_at: float = float("inf")
    """When half of the workers are gone, with what they have settled last."""

    def __post_init__(self) -> None:
        self.draw = random.Random(1)
        self.planner, self.fleet = Planner(self.size), Fleet()
        self.pace, self.retries = Pace(0.0), Retries(DELAY_SECONDS, attempts=4)
        self.busy: dict[int, tuple[float, float, int, int]] = {}
        self.again: list[tuple[float, int]] = []
        self.begun = self.settled = 0

    def run(self) -> Iterator[tuple[float, Estimate]]:
        """What is said, and when, until all is settled."""
        now = 0.0
        while self.settled < self.size:
            self._advance(now)
            self._beat(now)
            left, held = self.size - self.settled, self.fleet.held("r", now)
            self.pace.look(now, self.settled, left, self.retries.later(now), self.fleet.slots_up, held)
            yield now, self.pace.estimate(self.retries)
            now += LOOK_SECONDS

    def _advance(self, now: float) -> None:
        while ends := [(end, slot) for slot, (_, end, _, _) in self.busy.items() if end <= now]:
            self._settle(*min(ends))
        for slot in range(self._workers(now)):
            self._take(slot, now)

    def _workers(self, now: float) -> int:
        return self.workers if now < self.leave_at else self.workers // 2

    def _settle(self, at: float, slot: int) -> None:
        began, _, count, attempt = self.busy.pop(slot)
        failed = sum(self.draw.random() < self.failing for _ in range(count)) if attempt == 1 else 0
        if failed:
            heapq.heappush(self.again, (at + DELAY_SECONDS, failed))
        self.settled += count - failed
        self.retries.saw(attempt, count - failed, failed, at)
        self.pace.saw(count, at - began)
        self.planner.saw(count, at - began)
        self.fleet.settled(f"w{slot}", slot, at)
        if slot < self._workers(at):
            self._take(slot, at)

    def _take(self, slot: int, now: float) -> None:
        if slot in self.busy:
            return
        if self.again and self.again[0][0] <= now:
            count, attempt = heapq.heappop(self.again)[1], 2
        else:
            count, attempt = self.planner.next_size(self.size - self.begun, self.workers), 1
            self.begun += count
        if count:
            lasts = sum(self.seconds * self.draw.uniform(0.8, 1.2) for _ in range(count))
            self.busy[slot] = (now, now + lasts, count, attempt)

    def _beat(self, now: float) -> None:
        if now % BEAT_SECONDS:
            return
        self.fleet.forget_silent(now)
        for slot in range(self._workers(now)):
            state = SlotState(slot, "idle", now)
            if slot in self.busy:
                state = SlotState(slot, "busy", self.busy[slot][0], run="r", total=self.busy[slot][2])
            beat = {"source": "w", "host": "h", "pid": 1, "state": "working", "interval": BEAT_SECONDS}
            self.fleet.saw(WorkerHeartbeat(at=now, worker=f"w{slot}", slots=(state,), **beat), now)  # type: ignore[arg-type]


def second_half(model: Model) -> list[tuple[float, Estimate]]:
    """What was said, and what was left then."""
    said = list(model.run())
    ended = said[-1][0]
    return [(ended - at, estimate) for at, estimate in said if ended / 2 <= at < ended]


def errors(said: list[tuple[float, Estimate]]) -> list[float]:
    """In percent of what was left, which counts as a tenth of the run at least."""
    least = 2 * said[0][0] / 10
    return [100 * abs((estimate.eta_seconds or 0.0) - left) / max(left, least) for left, estimate in said]


RUNS = [(0.01, 18_000, 2), (1.0, 480, 4), (25.0, 96, 8)]


@pytest.mark.parametrize(("seconds", "size", "workers"), RUNS)
def test_the_time_left_is_right(seconds: float, size: int, workers: int) -> None:
    found = errors(second_half(Model(seconds, size, workers)))
    assert statistics.median(found) <= 10
    assert max(found) <= 30


@pytest.mark.parametrize(("seconds", "size", "workers"), RUNS)
def test_where_calls_fail_it_is_about_right_and_within_its_range(seconds: float, size: int, workers: int) -> None:
    """Whether the last calls fail, which costs another delay and call, nobody can foresee; that they may, one can."""
    said = second_half(Model(seconds, size, workers, failing=0.05))
    assert statistics.median(errors(said)) <= 10
    in_range = [
        (told.eta_least_seconds or 0.0) - LOOK_SECONDS <= left <= (told.eta_most_seconds or 0.0) + LOOK_SECONDS
        for left, told in said
    ]
    assert sum(in_range) >= 0.8 * len(in_range)


def test_workers_that_leave_change_the_estimate_at_once() -> None:
    model = Model(1.0, 400, 4, leave_at=60.0)
    said = dict(model.run())
    assert said[58.0].rate == pytest.approx(4, rel=0.1)
    assert said[70.0].rate == pytest.approx(2, rel=0.15)  # once their silence was noticed
    assert said[70.0].eta_seconds == pytest.approx(max(said) - 70.0, rel=0.15)


def test_nothing_is_said_while_nothing_is_known_or_nobody_is_there() -> None:
    pace, retries = Pace(0.0), Retries()
    pace.look(5.0, settled=0, left=10, later=0, slots=2, held=[5.0, 5.0])
    assert pace.estimate(retries) == Estimate()
    pace.saw(1, 5.0)
    pace.look(6.0, settled=1, left=9, later=0, slots=2, held=[5.0, 1.0])
    assert pace.estimate(retries).eta_seconds is not None
    pace.look(7.0, settled=1, left=9, later=0, slots=0, held=[])
    assert pace.estimate(retries) == Estimate()


def test_retries_are_counted_in_when_they_fail_and_out_when_they_are_settled() -> None:
    retries = Retries(delay_seconds=5.0, attempts=4)
    retries.saw(attempt=1, settled=90, failed=10, now=0.0)
    retries.saw(attempt=2, settled=4, failed=6, now=7.0)
    assert (retries.waiting, retries.later(8.0)) == (6, 6)
    assert retries.note(9.5) == "waiting for 6 retries, next in 3 s"
    assert retries.later(12.0) == 0
    assert retries.note(12.5) == "waiting for 6 retries"
    assert retries.share_failing(1) == 0.1
    retries.saw(attempt=4, settled=6, failed=0, now=20.0)
    assert (retries.waiting, retries.note(20.0)) == (0, ""), "a run that was done waited for 0 retries"


def test_the_last_retries_are_part_of_the_time_left() -> None:
    pace, retries = Pace(0.0), Retries(delay_seconds=5.0, attempts=2)
    for at in range(1, 11):
        pace.saw(1, 1.0)
        retries.saw(1, 1 if at < 10 else 0, 0 if at < 10 else 1, float(at))
        pace.look(float(at), min(at, 9), 10 - min(at, 9), retries.later(at), 1, [0.0] if at < 10 else [])
    assert pace.rests
    assert pace.estimate(retries).eta_seconds == pytest.approx(6.0)
