"""Workers that do not execute a run, and when nobody is left who could. Pure."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from ttg.messages import FunctionRefused

HEARD_OF_SECONDS = 3.0
"""Within it every worker of a shared broker shows itself."""
EXPECTED_SECONDS = 60.0
"""How long a run without workers of its own waits for one that could."""


@dataclass
class RefusingWorkers:
    """Of one run. A refusal is that worker's own trouble, as long as there is another."""

    latest: dict[str, FunctionRefused] = field(default_factory=dict)
    _since: float | None = None

    def saw(self, event: FunctionRefused) -> bool:
        """Whether its reason is news."""
        known = {before.text for before in self.latest.values()}
        self.latest[event.worker] = event
        return event.text not in known

    def nobody_left(self, workers: Set[str]) -> FunctionRefused | None:
        """One refusal, if all of ``workers`` refuse; of one that has tried, if there is any."""
        there = [event for worker, event in self.latest.items() if worker in workers]
        if len(there) < len(workers):
            return None
        return max(there, key=lambda event: event.lasting, default=None)

    def is_final(self, refusal: FunctionRefused | None, now: float, patience_seconds: float) -> bool:
        """Whether that has been so for so long, somebody having tried; a worker that was not started for the run counts
        as if it were not there. Ask at every tick."""
        tried = refusal is not None and refusal.lasting
        self._since = (now if self._since is None else self._since) if tried else None
        return self._since is not None and now - self._since >= patience_seconds
