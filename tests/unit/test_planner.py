"""The planner: pilot, steady state, tail; simulated on ideal slots."""

from __future__ import annotations

import heapq

import pytest

from ttg.planner import MAX_CHUNK, Planner


def schedule(planner: Planner, call_seconds: float, slots: int, overhead: float = 0.001) -> tuple[float, list[int]]:
    """Greedy execution on ``slots`` ideal slots; returns the makespan and the chunk sizes."""
    free = [0.0] * slots
    left, sizes = planner.size, []
    while left:
        at = heapq.heappop(free)
        size = planner.next_size(left, slots)
        left -= size
        sizes.append(size)
        planner.saw(size, size * call_seconds)
        heapq.heappush(free, at + overhead + size * call_seconds)
    return max(free), sizes


def test_the_first_chunk_is_a_pilot_and_costs_one_call() -> None:
    assert Planner(10**9).next_size(10**9, 4) == 1


def test_a_chunk_of_a_known_speed_lasts_about_a_second() -> None:
    planner = Planner(10**7)
    planner.saw(1000, 1.0)
    assert planner.next_size(10**7, 2) == 1000


def test_one_lucky_fast_call_does_not_make_a_giant_chunk() -> None:
    planner = Planner(10**9)
    planner.saw(1, 0.0)
    assert planner.next_size(10**9, 2) == 4096


def test_chunks_never_exceed_what_is_left() -> None:
    planner = Planner(10, chunk_size=7)
    assert [planner.next_size(10, 1), planner.next_size(3, 1), planner.next_size(0, 1)] == [7, 3, 0]


@pytest.mark.parametrize(
    ("size", "call_seconds", "slots", "most"),
    [(1000, 0.1, 3, 1.005), (10_000, 0.01, 3, 1.01), (10_000, 0.001, 2, 1.01)],
)
def test_the_tail_is_short(size: int, call_seconds: float, slots: int, most: float) -> None:
    makespan, sizes = schedule(Planner(size), call_seconds, slots, overhead=0.0)
    ideal = size * call_seconds / slots
    assert makespan <= most * ideal + call_seconds
    assert sum(sizes) == size


def test_chunks_of_a_fast_function_are_as_large_as_allowed_but_for_the_pilot_and_the_tail() -> None:
    _, sizes = schedule(Planner(10**8), 1e-7, 2)
    assert max(sizes) == MAX_CHUNK
    assert len(sizes) < 10**8 / MAX_CHUNK + 20


def test_recent_speed_outweighs_old_speed() -> None:
    planner = Planner(10**6)
    for _ in range(20):
        planner.saw(100, 0.1)
    for _ in range(8):
        planner.saw(100, 1.0)
    assert planner.speed.call_seconds > 0.007


@pytest.mark.parametrize(("slots", "chunk_size"), [(1, None), (8, None), (4, 1), (4, 100)])
def test_the_window_is_bounded_and_feeds_every_slot(slots: int, chunk_size: int | None) -> None:
    planner = Planner(10**9, chunk_size)
    for call_seconds in (1e-7, 1e-3, 10.0):
        planner.saw(1000, 1000 * call_seconds)
        assert 3 * slots <= planner.window(slots) <= 10_000
