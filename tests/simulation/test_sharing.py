"""Two runs on one broker and the same workers: fair shares for equal priorities, most of it for the higher one."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.scenario import Scenario
from simulation.sharing import Shares, share_workers
from simulation.virtual_time import run_virtually

QUIET = Scenario(
    seed=0,
    size=100_000,
    chunk_size=None,
    workers=2,
    slots=1,
    call_seconds=0.02,
    slice_size=5,
    start_seconds=0.05,
    keep_result_bytes=0,
    travel_seconds=0.001,
    loss=0.0,
)


def shares_of(priorities: tuple[int, int], folder: Path) -> Shares:
    return run_virtually(lambda loop: share_workers(QUIET, priorities, folder, loop))


def test_equal_priorities_get_equal_shares(tmp_path: Path) -> None:
    shares = shares_of((0, 0), tmp_path)
    assert 0.4 <= shares.second <= 0.6


@pytest.mark.parametrize("step", [1, 3])
def test_the_higher_priority_gets_most_and_the_lower_one_does_not_starve(step: int, tmp_path: Path) -> None:
    shares = shares_of((0, step), tmp_path)
    assert shares.second >= 0.7
    assert shares.first > 0.0
