"""Two coordinators of the simulation on one memory broker, and how much of the workers each of them got."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec

from simulation.clients import SimulatedBroker
from simulation.scenario import Scenario
from simulation.virtual_time import VirtualLoop
from simulation.world import World
from ttg.results.collector import Collector
from ttg.results.dataset import open_ledger
from ttg.results.folder import RunFolder
from ttg.run.config import CoordinatorConfig
from ttg.run.coordinator import Coordinator
from ttg.space import grid, range_

HEAD_START_SECONDS = 5.0
SETTLING_SECONDS = 60.0
WATCHED_SECONDS = 15.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Shares:
    """The parts of what was settled while both runs were going on."""

    first: float
    second: float


async def share_workers(scenario: Scenario, priorities: tuple[int, int], folder: Path, loop: VirtualLoop) -> Shares:
    """Start a run, then another; look at them once the tasks that the first one had put ahead are worked off."""
    world = World(scenario, folder / "unused", loop)
    world.spec = world.specification()
    coordinators = [
        _coordinator(world, folder, name, priority) for name, priority in zip("ab", priorities, strict=True)
    ]
    staff = loop.create_task(world.keep_staff())
    running = [loop.create_task(coordinators[0].run())]
    await asyncio.sleep(HEAD_START_SECONDS)
    running.append(loop.create_task(coordinators[1].run()))
    await _wait_until_both_work(coordinators)
    before = [coordinator.settled for coordinator in coordinators]
    await asyncio.sleep(WATCHED_SECONDS)
    gained = [coordinator.settled - start for coordinator, start in zip(coordinators, before, strict=True)]
    staff.cancel()
    for coordinator in coordinators:
        coordinator.stop()
    await asyncio.gather(*running, staff, return_exceptions=True)
    await world.go_home()
    return Shares(gained[0] / sum(gained), gained[1] / sum(gained))


async def _wait_until_both_work(coordinators: list[Coordinator]) -> None:
    async with asyncio.timeout(SETTLING_SECONDS):
        while not coordinators[1].settled or coordinators[0].submission.window.weight is None:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(LOOK_SECONDS)


def _coordinator(world: World, folder: Path, name: str, priority: int) -> Coordinator:
    spec = msgspec.structs.replace(world.spec, run=name, identity=name, priority=priority)
    run_folder = RunFolder.create(folder / name, spec)
    space = grid(i=range_(0, world.scenario.size))
    collector = Collector(run_folder, spec, space, open_ledger(run_folder))
    options = CoordinatorConfig(chunk_size=world.scenario.chunk_size, expected_slots=world.scenario.workers)
    broker = SimulatedBroker(world.config, f"coordinator-{name}", world.server, world.accounts)
    return Coordinator(spec, space, collector, broker, options)
