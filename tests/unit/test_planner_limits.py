"""Where the planner's rules end: priorities, the smallest windows, calls too fast to be timed."""

from __future__ import annotations

import pytest

from ttg.planner import (
    CHUNK_BYTES,
    MAX_CHUNK,
    MIN_WINDOW_PER_SLOT,
    PILOTS,
    STORE_BYTES,
    WINDOW_BYTES,
    Planner,
    Speed,
    weight_among,
)


@pytest.mark.parametrize(
    ("priority", "rivals", "weight"),
    [
        (0, [], None),
        (0, [0], 1.0),
        (0, [0, 0], 1.0),
        (1, [0], 1.0),
        (0, [1], 1 / 4),
        (0, [2, 1], 1 / 16),
        (-1, [0], 1 / 4),
        (0, [10**9], 4.0**-30),
    ],
)
def test_each_step_below_the_highest_priority_quarters_the_window(
    priority: int, rivals: list[int], weight: float | None
) -> None:
    assert weight_among(priority, rivals) == weight


def test_nobody_starves() -> None:
    assert Planner(10**6).window(4, weight=4.0**-30) == 1
    assert Planner(10**6).window(4, weight=0.5) == MIN_WINDOW_PER_SLOT * 4 // 2


def test_the_window_of_automatic_chunks() -> None:
    planner = Planner(10**6)
    assert planner.window(1) == PILOTS
    assert planner.window(100) == MIN_WINDOW_PER_SLOT * 100
    planner.saw(1, 1.0)
    assert planner.window(1) == MIN_WINDOW_PER_SLOT
    assert planner.window(0) == MIN_WINDOW_PER_SLOT


def test_the_window_of_fixed_chunks_covers_four_seconds_within_bounds() -> None:
    planner = Planner(10**9, chunk_size=10)
    assert planner.window(2) == 2000, "nothing is known of the speed"
    planner.saw(1000, 1.0)
    assert planner.window(10) == 4_000
    assert planner.window(1) == 1_000
    assert planner.window(1_000) == 10_000


def test_where_tasks_carry_their_parameters_chunk_and_window_are_bounded_by_their_bytes() -> None:
    planner = Planner(10**9, parameter_bytes=1 << 10)
    planner.saw(10**6, 0.0)
    assert planner.next_size(10**9, 1) == CHUNK_BYTES >> 10
    fixed = Planner(10**9, chunk_size=1 << 10, parameter_bytes=1 << 10)
    assert fixed.window(1) == WINDOW_BYTES >> 20
    fixed.parameter_bytes = 1 << 20
    assert fixed.window(1) == MIN_WINDOW_PER_SLOT
    fixed.parameter_bytes = 1.0
    assert fixed.window(1) == 1_000


def test_where_results_pass_the_store_the_window_is_bounded_by_what_they_take_there() -> None:
    planner = Planner(10**9, chunk_size=1, stored_bytes=50e6)
    assert planner.window(1) == STORE_BYTES // 50_000_000
    planner.stored_bytes = 1e12
    assert planner.window(2) == 2 * MIN_WINDOW_PER_SLOT, "nobody waits for the coordinator"


def test_calls_too_fast_to_be_timed_get_the_largest_chunk() -> None:
    planner = Planner(10**9)
    planner.saw(10**6, 0.0)
    assert planner.next_size(10**9, 1) == MAX_CHUNK
    assert planner.next_size(3, 1) == 3
    assert planner.next_size(0, 1) == 0


def test_what_says_nothing_of_the_speed_is_not_learnt() -> None:
    known = Speed(0.5, 10)
    assert known.after(0, 1.0) is known
    assert known.after(5, -1.0) is known
    assert known.after(10, 10.0).call_seconds == pytest.approx(0.75)
