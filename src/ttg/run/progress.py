"""How far a run is and how fast it goes: figures for people, from committed state only. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ttg.messages import RunProgress, RunStatus


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a run: of ``total`` parameters ``done`` have a result and ``dead`` are given up, after ``seconds``.

    ``rate`` is in parameters per second, ``eta_seconds`` what is left, most likely between ``eta_least_seconds`` and
    ``eta_most_seconds`` (:mod:`ttg.run.pace`); ``None`` while there is nothing to tell it from, or nothing more is
    begun (``paused``). ``at`` is Unix time. ``cause`` is the commonest one of what failed, ``note`` what the run waits
    for."""

    run: str
    total: int
    done: int = 0
    dead: int = 0
    retrying: int = 0
    rate: float = 0.0
    workers: int = 0
    seconds: float = 0.0
    state: RunStatus = RunStatus.ACTIVE
    note: str = ""
    cause: str = ""
    eta_seconds: float | None = None
    eta_least_seconds: float | None = None
    eta_most_seconds: float | None = None
    at: float = 0.0
    paused: bool = False

    @property
    def settled(self) -> int:
        """Results plus dead letters."""
        return self.done + self.dead

    def as_event(self, **others: Any) -> RunProgress:
        """What monitors are told; ``others`` are fields of it that are known elsewhere."""
        return RunProgress(
            size=self.total,
            done=self.done,
            dead=self.dead,
            retrying=self.retrying,
            rate=self.rate,
            workers=self.workers,
            note=self.note,
            eta_seconds=self.eta_seconds,
            eta_least_seconds=self.eta_least_seconds,
            eta_most_seconds=self.eta_most_seconds,
            **others,
        )
