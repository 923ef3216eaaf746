"""Workers that do not execute a run, and when nobody is left who could. No I/O but a log."""

from __future__ import annotations

import logging
from collections.abc import Set
from dataclasses import dataclass, field

from ttg.errors import FunctionError
from ttg.messages import AnyEvent, FunctionLoading, FunctionRefused

log = logging.getLogger("ttg.run")

HEARD_OF_SECONDS = 3.0
"""Within it every worker of a shared broker shows itself."""
EXPECTED_SECONDS = 60.0
"""How long a run without workers of its own waits for one that could."""


@dataclass
class RefusingWorkers:
    """Of one run. A refusal is that worker's own trouble, as long as there is another; ``patience_seconds`` is how long
    one may take to come. ``note`` says why, while all refuse."""

    identity: str
    patience_seconds: float
    note: str = ""
    _latest: dict[str, FunctionRefused] = field(default_factory=dict)
    _since: float | None = None

    def on_event(self, event: AnyEvent) -> None:
        """Workers say why they refuse, or which line of an import takes so long. A reason is logged once."""
        if not isinstance(event, FunctionLoading | FunctionRefused) or event.identity != self.identity:
            return
        if isinstance(event, FunctionLoading):
            log.warning("worker %s: %s", event.worker, event.text)
            return
        if event.text not in {before.text for before in self._latest.values()}:
            log.warning("worker %s does not work on this run: %s", event.worker, event.text)
        self._latest[event.worker] = event

    def check(self, workers: Set[str], now: float) -> None:
        """Raise ``FunctionError`` when all of ``workers`` have refused for ``patience_seconds`` and one of them has
        tried; one that was not started for the run counts as if it were not there. Ask at every tick."""
        refusal = self._nobody_left(workers)
        self.note = refusal.text.partition("\n")[0] if refusal else ""
        tried = refusal is not None and refusal.lasting
        self._since = (now if self._since is None else self._since) if tried else None
        if refusal and self._since is not None and now - self._since >= self.patience_seconds:
            raise FunctionError(f"no worker is left that could run this: {refusal.text}")

    def _nobody_left(self, workers: Set[str]) -> FunctionRefused | None:
        """One refusal, if all of ``workers`` refuse; of one that has tried, if there is any."""
        there = [event for worker, event in self._latest.items() if worker in workers]
        if len(there) < len(workers):
            return None
        return max(there, key=lambda event: event.lasting, default=None)
