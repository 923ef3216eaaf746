"""Thousands of runs in virtual time, each with its own misfortunes: every parameter is counted exactly once.

``SIMULATION_SEEDS=100000`` plays more of them, ``SIMULATION_FIRST=161`` starts at that one: to play one again, give
its number and ``SIMULATION_SEEDS=1``.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from simulation.oracle import Broken, play
from simulation.scenario import QUEUES, Fault, Kind, Scenario
from ttg.brokers.memory import state

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "2000"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
BATCH = 100


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def story_of(seed: int) -> str:
    """What happened when the seed broke a promise, else nothing."""
    try:
        play(Scenario.drawn(seed))
    except Broken as broken:
        return str(broken)
    return ""


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BATCH))
def test_every_parameter_is_counted_once_whatever_happens(first: int) -> None:
    seeds = range(first, min(first + BATCH, FIRST + SEEDS))
    stories = [story for seed in seeds if (story := story_of(seed))]
    shown = "\n\n".join(stories[:3])
    assert not stories, f"{len(stories)} of {len(seeds)} seeds broke a promise:\n{shown}"


@pytest.mark.parametrize("seed", [36, 159, 412])
def test_equal_seeds_are_equal_stories(seed: int) -> None:
    first, second = (play(Scenario.drawn(seed)) for _ in range(2))
    assert first.trace == second.trace
    assert first.loop.time() == second.loop.time()


PLAIN = replace(Scenario.drawn(0), size=60, chunk_size=5, workers=2, call_seconds=0.05, loss=0.0, poisons={}, faults=())
RESUMED = Fault(Kind.KILL_COORDINATOR, at=1.2)


@pytest.mark.parametrize(
    "faults",
    [
        *[(Fault(Kind.REPLACE_LOG, at=1.0, queue=queue),) for queue in QUEUES],
        *[
            (Fault(Kind.STALL, at=0.5, seconds=6.0, pick=how, queue=queue),)
            for queue in QUEUES
            for how in (0, 0.4, 0.8)
        ],
        *[(Fault(Kind.FAILOVER, at=0.8, seconds=1.0, pick=0.9, queue=queue),) for queue in QUEUES],
        (Fault(Kind.FAILOVER, at=0.8, seconds=1.0),),
        (Fault(Kind.FAILOVER, at=0.5, seconds=1.0, pick=0.9, queue="runs"), RESUMED),
        (Fault(Kind.READ_ONLY, at=0.8, seconds=3.0),),
        (Fault(Kind.REFUSED, at=0.8, seconds=3.0),),
        (Fault(Kind.REDELIVER, at=0.5, seconds=3.0),),
    ],
    ids=lambda faults: " and ".join(f"{fault.kind.name} {fault.queue} {fault.pick}" for fault in faults),
)
def test_one_trouble_of_the_broker_alone(faults: tuple[Fault, ...]) -> None:
    play(replace(PLAIN, faults=faults))


def test_nobody_is_blamed_for_being_delivered_again_and_again() -> None:
    """Each call takes longer than the time between two redeliveries."""
    play(replace(PLAIN, size=4, chunk_size=1, call_seconds=0.6, faults=(Fault(Kind.REDELIVER, at=0.2, seconds=6.0),)))


def test_a_log_whose_cursors_say_nothing_is_read_from_its_start_once_the_run_was_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new log is shorter than what was read of the old one, or it is by another server's clock."""
    monkeypatch.setattr(state, "is_of_another_log", lambda cursor, found: False)
    world = play(replace(PLAIN, size=200, faults=(Fault(Kind.LOSE_EVERYTHING, at=1.5),)))
    assert world.accounts.resubmissions == 1


def test_the_seeds_cover_every_misfortune() -> None:
    drawn = Counter(fault.kind for seed in range(FIRST, FIRST + 500) for fault in Scenario.drawn(seed).faults)
    assert set(drawn) == set(Kind)
