"""How a coordinator goes about a run; apart from it, for a request is checked before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from ttg.planner import Planner

SINGLE_SECONDS = 0.02
"""How long a chunk lasts where somebody waits for single results."""


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """How a coordinator goes about it; nothing here changes the table.

    ``max_failures`` ends the run (resumably) when more parameters than that are dead, ``fail_fast`` at the
    first that dies, and when the first ones all fail alike. ``keep_result_bytes`` is how much
    of the collected results of this and earlier runs stays in the broker for inspection, ``keep_seconds`` for how long
    after a run's end. ``lost_after_seconds``: how long the queue must have
    been empty, with nobody holding a task of this run, before what is missing is submitted again. ``single``: somebody
    waits for each result by itself, and calls may wait for each other; so chunks are short, and none is made of what
    there are slots for.
    """

    chunk_size: int | None = None
    max_failures: int | None = None
    fail_fast: bool = False
    keep_result_bytes: int = 64 << 20
    keep_seconds: float = 86_400.0
    lost_after_seconds: float = 5.0
    expected_slots: int = 1
    single: bool = False

    def planner(self, size: int) -> Planner:
        """For ``size`` parameters."""
        if self.single:
            return Planner(size, self.chunk_size, target_seconds=SINGLE_SECONDS, tail_seconds=0.0)
        return Planner(size, self.chunk_size)
