"""Thousands of runs in virtual time, each with its own misfortunes: every parameter is counted exactly once.

``SIMULATION_SEEDS=100000`` plays more of them, ``SIMULATION_FIRST=161`` starts at that one: to play one again, give
its number and ``SIMULATION_SEEDS=1``.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator

import pytest

from simulation.oracle import Broken, play
from simulation.scenario import Kind, Scenario

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


def test_the_seeds_cover_every_misfortune() -> None:
    drawn = Counter(fault.kind for seed in range(FIRST, FIRST + 500) for fault in Scenario.drawn(seed).faults)
    assert set(drawn) == set(Kind)
