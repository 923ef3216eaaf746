"""A thousand workers and a billion parameters: what the coordinator does per chunk must not grow with the run.

Counted are Python calls, not seconds: figures that are the same on every machine.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ttg.messages import Ranges, ResultHeader
from ttg.planner import Planner
from ttg.results.ledger import Ledger
from ttg.run.window import Window

WORKERS = 1_000
CHUNKS = 30_000


@dataclass
class SimulatedFleet:
    """Workers that each take the oldest chunk and need about a second for it; settled chunks arrive out of order."""

    size: int
    chunk_size: int
    ledger: Ledger = field(init=False)
    window: Window = field(init=False)
    chunks: int = 0
    largest_window: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.size)
        self.window = Window(Planner(self.size, self.chunk_size), self.ledger.missing)
        self.draw = random.Random(1)

    def settle(self, count: int) -> None:
        """Until ``count`` more chunks are settled."""
        for name, ranges in self._settled():
            self.ledger.settle_rows(ranges)
            self.window.saw(self._header(name, ranges))
            self.chunks += 1
            self.largest_window = max(self.largest_window, len(self.window.out))
            count -= 1
            if not count:
                return

    def _settled(self) -> Iterator[tuple[str, Ranges]]:
        """Chunks in the order in which workers finish them."""
        if not hasattr(self, "_busy"):
            self._busy: list[tuple[float, str, Ranges]] = []
            self._queue: list[tuple[str, Ranges]] = []
        now = self._busy[0][0] if self._busy else 0.0
        while True:
            left = self.size - self.ledger.done_count - self.window.in_flight
            self._queue[:0] = reversed(self.window.cut(WORKERS, left))
            while self._queue and len(self._busy) < WORKERS:
                name, ranges = self._queue.pop()
                heapq.heappush(self._busy, (now + self.draw.uniform(0.5, 1.5), name, ranges))
            if not self._busy:
                return
            now, name, ranges = heapq.heappop(self._busy)
            yield name, ranges

    def _header(self, name: str, ranges: Ranges) -> ResultHeader:
        return ResultHeader(run="r", task=name, ranges=ranges, attempt=1, worker="w", slot=0, started=0.0, seconds=1.0)


def calls_per_chunk(fleet: SimulatedFleet, count: int) -> float:
    """Python and C calls that settling ``count`` chunks takes, per chunk."""
    calls = 0

    def count_call(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = fleet.chunks
    sys.setprofile(count_call)
    try:
        fleet.settle(count)
    finally:
        sys.setprofile(None)
    return calls / (fleet.chunks - before)


@pytest.mark.parametrize("size", [10**9])
def test_the_work_per_chunk_does_not_grow_with_the_run(size: int) -> None:
    small, large = SimulatedFleet(size // 1000, 100), SimulatedFleet(size, 100_000)
    few, many = calls_per_chunk(small, 9_000), calls_per_chunk(large, 9_000)
    assert many <= 1.1 * few


def test_the_work_per_chunk_does_not_grow_while_the_run_goes_on() -> None:
    fleet = SimulatedFleet(10**9, 20_000)
    fleet.settle(10_000)
    early = calls_per_chunk(fleet, 2_000)
    fleet.settle(CHUNKS)
    late = calls_per_chunk(fleet, 2_000)
    assert late <= 1.1 * early


def test_a_billion_parameters_fit_into_a_small_window_and_a_small_ledger() -> None:
    fleet = SimulatedFleet(10**9, 100_000)
    fleet.settle(10**4)
    assert fleet.ledger.complete
    assert not fleet.window.out
    assert fleet.largest_window <= 10_000
    assert len(fleet.ledger.done().serialize()) < 2 << 20
