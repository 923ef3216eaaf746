"""What the coordinator does at its limits, on the simulated broker and in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from simulation.child import Poison
from simulation.scenario import Fault, Kind, Scenario
from simulation.virtual_time import VirtualLoop, run_virtually
from simulation.world import World
from ttg.errors import RunStopped
from ttg.messages import BrokerTrouble, RunStatus, TasksResubmitted, decode_event
from ttg.run.config import CoordinatorConfig
from ttg.run.progress import Progress
from ttg.run.steering import pause

PLAIN = Scenario(
    seed=0, size=60, chunk_size=5, workers=2, slots=1, call_seconds=0.01, slice_size=4, start_seconds=0.05,
    keep_result_bytes=0, travel_seconds=0.001, loss=0.0,
)  # fmt: skip
FAILING = dict.fromkeys((3, 17, 44), Poison.FAILS)


class OneCoordinator(World):
    """A world whose coordinator is not started again when it gives up."""

    max_failures: int | None = None
    report: Callable[[Progress], None] | None = None

    async def keep_staff(self) -> None:
        if self.coordinator is not None and self.report is not None:
            self.coordinator.report = self.report
        await super().keep_staff()

    def _options(self) -> CoordinatorConfig:
        return replace(super()._options(), max_failures=self.max_failures)

    async def _coordinate(self) -> None:
        await self._coordinate_once("coordinator-0")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def played(scenario: Scenario, folder: Path, max_failures: int | None = None) -> World:
    async def story(loop: VirtualLoop) -> World:
        world = OneCoordinator(scenario, folder / "run", loop)
        world.max_failures = max_failures
        await world.run()
        return world

    return run_virtually(story)


def test_as_many_failures_as_allowed_do_not_end_a_run(tmp_path: Path) -> None:
    played(replace(PLAIN, poisons=FAILING), tmp_path, max_failures=3)


def test_one_failure_more_than_allowed_ends_it(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match=r"3 parameters failed for good, more than --max-failures allows \(2\)"):
        played(replace(PLAIN, poisons=FAILING), tmp_path, max_failures=2)


@pytest.mark.parametrize("keep", [0, 1_000])
def test_collected_results_leave_the_broker_up_to_what_is_kept(keep: int, tmp_path: Path) -> None:
    world = played(replace(PLAIN, keep_result_bytes=keep), tmp_path)
    results = world.server.namespace(world.config.namespace).results
    sizes = [len(entry.body) + len(entry.payload) for entry in results.entries]
    assert sum(sizes[1:]) < max(keep, 1)
    assert bool(sizes) is bool(keep), "the newest are kept to be looked at"


class Unstaffed(OneCoordinator):
    """Two workers, of whom one vanishes and is not replaced; ``counted``: how many the coordinator counts on then."""

    counted: tuple[int, ...] = ()

    async def keep_staff(self) -> None:
        for _ in range(2):
            self._hire()
        await asyncio.sleep(3.0)
        self.kill_worker("worker-1")
        while self.coordinator is not None:
            self.counted = (*self.counted, self.coordinator.progress().workers)
            await asyncio.sleep(1.0)


def test_a_worker_that_vanished_is_no_longer_counted(tmp_path: Path) -> None:
    async def story(loop: VirtualLoop) -> tuple[int, ...]:
        world = Unstaffed(replace(PLAIN, size=2_000, call_seconds=0.02), tmp_path / "run", loop)
        await world.run()
        return world.counted

    counted = run_virtually(story)
    assert counted[0] == 2
    assert counted[-1] == 1


def test_trouble_is_told_to_be_over_although_the_run_ends_before_the_next_try(tmp_path: Path) -> None:
    """A call that waits for its next try is given up when all is settled, and the last line is about the end."""
    stall = Fault(Kind.STALL, at=0.5, seconds=1.5, queue="runs")
    shown: list[Progress] = []

    async def story(loop: VirtualLoop) -> World:
        world = OneCoordinator(replace(PLAIN, size=240, call_seconds=0.02, faults=(stall,)), tmp_path / "run", loop)
        world.report = shown.append
        await world.run()
        return world

    world = run_virtually(story)
    events = [decode_event(entry.body) for entry in world.server.namespace(world.config.namespace).events.entries]
    told = [event.recovered for event in events if isinstance(event, BrokerTrouble)]
    assert any(progress.note for progress in shown)
    assert not shown[-1].note
    assert told.count(False) == told.count(True) > 0


def test_a_full_broker_keeps_no_collected_results_whatever_was_asked_for(tmp_path: Path) -> None:
    full = Fault(Kind.FULL, at=0.5, seconds=1.0)
    world = played(replace(PLAIN, size=240, call_seconds=0.02, keep_result_bytes=1 << 20, faults=(full,)), tmp_path)
    assert not world.server.namespace(world.config.namespace).results.entries


class Paused(OneCoordinator):
    """A world whose run is paused for more than a minute; ``forgets``: its broker loses everything meanwhile."""

    forgets = False
    settled: tuple[int, ...] = ()

    async def keep_staff(self) -> None:
        for _ in range(2):
            self._hire()
        await asyncio.sleep(2.0)
        assert self.coordinator is not None
        broker, run = self.members["worker-1"].broker, self.coordinator.spec.run
        await pause(broker, run, paused=True)
        await asyncio.sleep(20.0)
        before = self.coordinator.settled
        if self.forgets:
            self.server.lose_everything()
        await asyncio.sleep(60.0)
        self.settled = (before, self.coordinator.settled)
        assert self.coordinator.progress().paused
        await pause(broker, run, paused=False)
        await super().keep_staff()


@pytest.mark.parametrize("forgets", [False, True])
def test_while_a_run_is_paused_nothing_is_submitted_nor_taken_for_lost(forgets: bool, tmp_path: Path) -> None:
    async def story(loop: VirtualLoop) -> Paused:
        world = Paused(replace(PLAIN, size=2_000, call_seconds=0.02), tmp_path / "run", loop)
        world.forgets = forgets
        await world.run()
        return world

    world = run_virtually(story)
    before, after = world.settled
    assert 0 < before == after < 2_000
    events = [decode_event(entry.body) for entry in world.server.namespace(world.config.namespace).events.entries]
    assert any(isinstance(event, TasksResubmitted) for event in events) is forgets


class Interrupted(OneCoordinator):
    """A world that remembers how its coordinator ended."""

    status = ""

    async def keep_staff(self) -> None:
        if self.coordinator is not None:
            self.coordinator.workers = SlowToStop()  # type: ignore[assignment]
        await super().keep_staff()

    async def _coordinate(self) -> None:
        self.status = await self._coordinate_once("coordinator-0")


class SlowToStop:
    """Local workers that take as long as they may to settle what they have."""

    pids: ClassVar[dict[int, str]] = {}
    hopeless = False

    async def stop(self) -> None:
        await asyncio.sleep(8.0)

    def look(self, drained: tuple[str, ...] = ()) -> tuple[int, ...]:
        return ()


def test_who_is_interrupted_while_the_broker_is_away_is_interrupted_and_has_not_failed(tmp_path: Path) -> None:
    away = Fault(Kind.STOP_BROKER, at=0.5, seconds=30.0)
    stopped = Fault(Kind.STOP_COORDINATOR, at=0.8)

    async def story(loop: VirtualLoop) -> World:
        world = Interrupted(replace(PLAIN, size=240, call_seconds=0.02, faults=(away, stopped)), tmp_path / "run", loop)
        await world.run()
        return world

    world = run_virtually(story)
    assert isinstance(world, Interrupted)
    assert world.status == RunStatus.INTERRUPTED


def test_trouble_that_no_broker_could_be_told_of_is_told_when_it_is_over(tmp_path: Path) -> None:
    away = Fault(Kind.STOP_BROKER, at=0.5, seconds=6.0)
    world = played(replace(PLAIN, size=480, call_seconds=0.02, faults=(away,)), tmp_path)
    events = [decode_event(entry.body) for entry in world.server.namespace(world.config.namespace).events.entries]
    coordinators = [event for event in events if isinstance(event, BrokerTrouble) and "coordinator" in event.source]
    assert [event.recovered for event in coordinators] == [False, True]


def test_a_run_whose_last_results_come_in_the_drain_is_finished(tmp_path: Path) -> None:
    """It said "interrupted: 60 of 60", and asked to be resumed."""

    async def story(loop: VirtualLoop) -> World:
        stopped = Fault(Kind.STOP_COORDINATOR, at=0.2)
        world = Interrupted(replace(PLAIN, faults=(stopped,)), tmp_path / "run", loop)
        await world.run()
        return world

    world = run_virtually(story)
    assert isinstance(world, Interrupted)
    assert world.status == RunStatus.FINISHED
