"""When a worker that refuses tasks asks for the next one. Pure.

What it refuses goes back at once, to the end of the queue: others may have it, and behind it may be what this worker
does execute. When a task comes again, and nothing between was for this worker, then nothing in the queue is: it rests,
longer after each such round, until it spends a fifth of its time on refusing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ttg.messages import Ranges, Task

FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 0.01, 1.0
MOST_ROUNDS_LONG = 4

Piece = tuple[str, Ranges]


@dataclass
class RefusedRounds:
    """See the module's text."""

    _seen: set[Piece] = field(default_factory=set)
    _rounds: int = 0
    _began: float = 0.0
    _until: float = 0.0

    def refused(self, task: Task, now: float) -> None:
        """The task goes back."""
        piece = (task.life, task.ranges)  # whatever its id: that changes each time
        if piece in self._seen:
            self._until = now + self._rest(now - self._began)
            self._rounds += 1
            self._seen.clear()
        if not self._seen:
            self._began = max(now, self._until)
        self._seen.add(piece)

    def _rest(self, round_seconds: float) -> float:
        brief = min(FIRST_REST_SECONDS * (1 << min(self._rounds, 10)), LONGEST_REST_SECONDS)
        return max(brief, round_seconds * min(self._rounds, MOST_ROUNDS_LONG))

    def accepted(self) -> None:
        """A task is executed."""
        self._seen.clear()
        self._rounds, self._until = 0, 0.0

    def rest_seconds(self, now: float) -> float:
        """How long to ask for no task."""
        return max(0.0, self._until - now)
