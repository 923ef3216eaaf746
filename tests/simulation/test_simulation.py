"""Thousands of runs in virtual time, each with its own misfortunes: every parameter is counted exactly once.

``SIMULATION_SEEDS=100000`` plays more of them, ``SIMULATION_FIRST=161`` starts at that one: to play one again, give
its number and ``SIMULATION_SEEDS=1``.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from simulation.oracle import Broken, play
from simulation.scenario import Kind, Scenario

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "2000"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
PROCESSES = len(os.sched_getaffinity(0))
BATCH = 50


def play_some(seeds: range) -> list[str]:
    """The stories of those that broke a promise."""
    logging.disable(logging.CRITICAL)
    stories = []
    for seed in seeds:
        try:
            play(Scenario.drawn(seed))
        except Broken as broken:
            stories.append(str(broken))
    return stories


@pytest.mark.timeout(60 + SEEDS // 2)
def test_every_parameter_is_counted_once_whatever_happens() -> None:
    last = FIRST + SEEDS
    batches = [range(first, min(first + BATCH, last)) for first in range(FIRST, last, BATCH)]
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        stories = [story for found in pool.map(play_some, batches) for story in found]
    shown = "\n\n".join(stories[:3])
    assert not stories, f"{len(stories)} of {SEEDS} seeds broke a promise:\n{shown}"


@pytest.mark.parametrize("seed", [36, 159, 412])
def test_equal_seeds_are_equal_stories(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    first, second = (play(Scenario.drawn(seed)) for _ in range(2))
    assert first.trace == second.trace
    assert first.loop.time() == second.loop.time()


def test_the_seeds_cover_every_misfortune() -> None:
    drawn = Counter(fault.kind for seed in range(FIRST, FIRST + 500) for fault in Scenario.drawn(seed).faults)
    assert set(drawn) == set(Kind)
