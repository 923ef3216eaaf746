"""What the demonstration computes: a stand-in that takes as long as it is told and whose value anybody can check."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

WORK_VARIABLE = "SIMULATE_WORK_MS"


def value_of(i: int) -> float:
    """The value of parameter ``i``, computed directly: what every row of the demonstration is compared with."""
    return (i * 7 + 13) % 1000 + (i % 100) / 100


def simulate(i: int) -> float:
    """Work for ``SIMULATE_WORK_MS`` milliseconds (by sleeping), then return :func:`value_of`."""
    milliseconds = float(os.environ.get(WORK_VARIABLE, "0"))
    if milliseconds > 0:
        time.sleep(milliseconds / 1000)
    return value_of(i)


def simulate_100ms(i: int) -> float:
    """100 ms of work, wherever it runs: a cluster's workers do not have this machine's environment."""
    time.sleep(0.1)
    return value_of(i)


def simulate_10ms(i: int) -> float:
    """As :func:`simulate_100ms`, 10 ms."""
    time.sleep(0.01)
    return value_of(i)


@dataclass(frozen=True, slots=True)
class Scale:
    """A size of demonstration. ``chunk_size`` ``None``: automatic. ``work_ms`` per parameter."""

    name: str
    size: int
    chunk_size: int | None
    work_ms: float

    def chunks(self) -> int | None:
        """How many chunks a run has, when their size is fixed."""
        return -(-self.size // self.chunk_size) if self.chunk_size else None

    def ideal_seconds(self, workers: int, lost_at: float | None = None) -> float:
        """Shortest possible runtime of ``workers`` slots; with one lost at a share ``lost_at`` of the work."""
        total = self.size * self.work_ms / 1000
        if lost_at is None or workers < 2:
            return total / workers
        return total * lost_at / workers + total * (1 - lost_at) / (workers - 1)


SCALES = {
    "small": Scale("small", 1_000, 10, 100.0),
    "medium": Scale("medium", 10_000, 100, 10.0),
    "large": Scale("large", 1_000_000, None, 0.0),
}

PROTOTYPE_SECONDS = {
    ("small", "redis", False): 36.0,
    ("small", "rabbitmq", False): 39.0,
    ("small", "redis", True): 48.0,
    ("small", "rabbitmq", True): 49.0,
    ("medium", "redis", False): 41.0,
    ("medium", "rabbitmq", False): 38.5,
}
