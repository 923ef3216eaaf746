"""Which indices are in the workers' hands: the coordinator's memory of what it submitted. Pure.

It is a hint for pacing, not a record: losing it costs repeated work, never a result. Its size is bounded by the window.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ttg.messages import Ranges, ResultHeader, count_indices
from ttg.planner import Planner

PIECE = re.compile(r"[.+]")  # a task split from chunk 7 is 7.a, 7.a.b, …; what a checkpoint left of it is 7+1, 7+2, …


@dataclass
class Window:
    """Cuts chunks from what is missing, and remembers how much of each is still out.

    ``missing(start, limit)`` gives up to ``limit`` unsettled indices at or after ``start`` (the ledger's view).
    ``weight`` is the share of the window that other runs leave to this one; ``again`` is what goes first, as it is.
    """

    planner: Planner
    missing: Callable[[int, int], Ranges]
    prefix: str = ""
    cursor: int = 0
    submitted: int = 0
    serial: int = 0
    weight: float | None = None
    out: dict[str, int] = field(default_factory=dict)
    again: list[Ranges] = field(default_factory=list)

    def cut(self, slots: int, left: int) -> list[tuple[str, Ranges]]:
        """Chunks to submit now, as ``(task id, ranges)``; ``left`` is how many indices no task holds yet."""
        chunks = []
        while len(self.out) < self.planner.window(slots, self.weight) and left > 0:
            ranges = self.again.pop() if self.again else self._next(self.planner.next_size(left, slots))
            if not ranges:
                break
            chunks.append(self._register(ranges))
            left -= self.out[chunks[-1][0]]
        return chunks

    def _next(self, size: int) -> Ranges:
        ranges = self.missing(self.cursor, size)
        if ranges:
            self.cursor = ranges[-1][1]
        return ranges

    def _register(self, ranges: Ranges) -> tuple[str, Ranges]:
        name = f"{self.prefix}{self.serial}"
        self.serial += 1
        count = count_indices(ranges)
        self.out[name] = count
        self.submitted += count
        return name, ranges

    def saw(self, header: ResultHeader) -> None:
        """A piece was settled. A parameter that waits for a retry no longer occupies anybody, so it leaves too."""
        self.planner.saw(header.finished, header.seconds)
        if header.stored and header.count:
            self.planner.stored_bytes = header.stored.size / header.count
        root = PIECE.split(header.task, maxsplit=1)[0]
        if header.attempt > 1 or root not in self.out:
            return
        self.out[root] -= header.finished
        if self.out[root] <= 0:
            del self.out[root]

    @property
    def in_flight(self) -> int:
        """Parameters in tasks that wait or run, retries not counted."""
        return sum(self.out.values())

    def start_over(self) -> None:
        """Forget what is out and look for missing indices from the beginning: the broker has lost tasks."""
        self.cursor = 0
        self.out.clear()
        self.again.clear()
