"""When a coordinator takes what is out for lost: on evidence, after a time that trouble prolongs, within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from simulation.virtual_time import run_virtually
from ttg.backoff import Backoff
from ttg.brokers.base import BrokerConfig
from ttg.brokers.memory import MemoryBroker, MemoryServer
from ttg.clock import loop_time
from ttg.messages import ResultHeader, Task
from ttg.planner import Planner
from ttg.run.submission import MOST_PATIENCE, Submission
from ttg.space import grid, range_, space_to_json
from ttg.spec import FunctionRef, RunSpec

SILENT_SECONDS = 5.0
LOOK_SECONDS = 0.5
SPACE = grid(i=range_(0, 10))
SPEC = RunSpec("r", FunctionRef("module", "m", "f"), space_to_json(SPACE), 10, ("i",))


class Nothing:
    """A collector to which nothing comes."""

    size = SPEC.size
    done_count = dead_count = 0
    missing = staticmethod(lambda start, limit: ())


class Coordinator:
    """What of one asks whether tasks are lost, twice a second, and ``lost_at``: when they were."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(BrokerConfig("memory://lost"), "c", MemoryServer())
        backoff = Backoff("c", lambda text, recovered: None)
        collector: Any = Nothing()
        self.submission = Submission(SPEC, SPACE, collector, self.broker, backoff, lambda: 1, Planner(SPEC.size))
        self.lost_at: list[float] = []

    async def look(
        self,
        until: float,
        *,
        in_trouble: Callable[[float], bool] = lambda now: False,
        read_up_to: Callable[[float], float] = lambda now: now,
    ) -> list[float]:
        """Look until then, submit again what is lost; returns :attr:`lost_at`."""
        while (now := loop_time()) < until:
            if await self.submission.find_lost(SILENT_SECONDS, read_up_to(now), in_trouble=in_trouble(now)):
                self.lost_at.append(now)
                self.submission.start_over()
            await asyncio.sleep(LOOK_SECONDS)
        return self.lost_at


def lost_at(until: float, **evidence: Callable[[float], Any]) -> list[float]:
    async def story(_loop: object) -> list[float]:
        return await Coordinator().look(until, **evidence)

    return run_virtually(story)


def test_silence_is_enough_when_all_is_well() -> None:
    (first,) = lost_at(8.0)
    assert first == pytest.approx(SILENT_SECONDS, abs=2 * LOOK_SECONDS)


def test_trouble_prolongs_the_silence() -> None:
    (first,) = lost_at(30.0, in_trouble=lambda now: now < 20.0)
    assert first == pytest.approx(20.0 + SILENT_SECONDS, abs=3 * LOOK_SECONDS)


def test_trouble_without_end_does_not_prolong_it_for_ever() -> None:
    (first,) = lost_at(MOST_PATIENCE * SILENT_SECONDS + 8.0, in_trouble=lambda now: True)
    longest = MOST_PATIENCE * SILENT_SECONDS
    assert longest < first < longest + SILENT_SECONDS + 3 * LOOK_SECONDS


def test_a_log_that_is_not_read_to_its_end_may_hold_the_results() -> None:
    (first,) = lost_at(17.0, read_up_to=lambda now: now if now > 15.0 else 4.0)
    assert first > 15.0


def test_what_is_submitted_again_in_vain_is_submitted_less_and_less_often() -> None:
    gaps = [after - before for before, after in pairwise([0.0, *lost_at(400.0)])]
    wanted = [SILENT_SECONDS * patience for patience in (1, 2, 4, 8, MOST_PATIENCE, MOST_PATIENCE)]
    assert gaps[: len(wanted)] == pytest.approx(wanted, abs=3 * LOOK_SECONDS)


def test_tasks_in_the_queue_and_results_are_signs_of_life() -> None:
    async def story(_loop: object) -> list[float]:
        coordinator = Coordinator()
        await coordinator.broker.submit([Task("r", "0", ((0, 10),))])
        assert not await coordinator.look(20.0)
        (delivery,) = await coordinator.broker.lease(1, 0.0)
        coordinator.broker.server.lose_everything()
        coordinator.submission.saw(ResultHeader("r", "0", ((0, 5),), 1, "w", 0, 0.0, 1.0))
        assert delivery.deliveries == 1
        return await coordinator.look(28.0)

    (first,) = run_virtually(story)
    assert first == pytest.approx(20.0 + SILENT_SECONDS, abs=3 * LOOK_SECONDS)
