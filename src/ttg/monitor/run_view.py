"""Runs, from what their coordinators say: the ledger's figures, never a guess from queue lengths. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ttg.messages import RunEnded, RunProgress, RunRecord, RunStarted, RunStatus
from ttg.monitor.series import Strips
from ttg.monitor.view import RunView, ThroughputView

RUNS_KEPT = 100
SILENT_AFTER_SECONDS = 10.0


@dataclass(slots=True)
class RunState:
    """What is known of one run; ``heard`` is when its coordinator last spoke, on the monitor's clock, ``record`` what
    the broker knows of it."""

    run: str
    identity: str = ""
    function: str = ""
    status: RunStatus = RunStatus.ACTIVE
    names: tuple[str, ...] = ()
    size: int = 0
    done: int = 0
    dead: int = 0
    retrying: int = 0
    submitted: int = 0
    chunks_settled: int = 0
    rate: float = 0.0
    eta_seconds: float | None = None
    eta_least_seconds: float | None = None
    eta_most_seconds: float | None = None
    note: str = ""
    started: float = 0.0
    settled_before: int = 0
    seconds: float = 0.0
    heard: float = 0.0
    told: float | None = None
    counted: bool = False
    record: RunRecord | None = None
    renewed: float = 0.0
    """When its record was last seen to change, on the monitor's clock: clocks differ."""

    @property
    def active(self) -> bool:
        return self.status is RunStatus.ACTIVE

    def status_at(self, now: float) -> RunStatus:
        """As told last, unless the record shows that its coordinator is gone."""
        lease_seconds = self.record.lease_seconds if self.record is not None else math.inf
        gone = self.active and now - max(self.renewed, self.heard) > lease_seconds
        return RunStatus.ABANDONED if gone else self.status

    def at(self, now: float) -> RunView:
        """This run as seen at ``now``; the ETA counts down between two reports."""
        silent = max(0.0, now - self.heard)
        stale = self.active and silent > SILENT_AFTER_SECONDS
        paused = self.active and self.record is not None and self.record.paused
        told = self.active and not stale

        def left(seconds: float | None) -> float | None:
            return max(0.0, seconds - silent) if told and not paused and seconds is not None else None

        return RunView(
            run=self.run,
            function=self.function,
            status=self.status_at(now),
            stale=stale,
            silent_seconds=silent if self.active else 0.0,
            size=self.size,
            done=self.done,
            dead=self.dead,
            retrying=self.retrying if self.active else 0,
            submitted=self.submitted,
            chunks_settled=self.chunks_settled,
            rate=0.0 if stale else self.rate,
            eta_seconds=left(self.eta_seconds),
            eta_least_seconds=left(self.eta_least_seconds),
            eta_most_seconds=left(self.eta_most_seconds),
            note=self.note if told else "",
            started=self.started,
            seconds=max(0.0, now - self.started) if self.active else self.seconds,
            names=self.names,
            counted=self.counted,
            paused=paused,
        )


@dataclass(slots=True)
class Runs:
    """All runs heard of, newest last, and how many parameters they settled over time."""

    states: dict[str, RunState] = field(default_factory=dict)
    settled: Strips[str] = field(default_factory=lambda: Strips(layers=1, columns=300, bucket_seconds=1.0))

    def on_started(self, event: RunStarted, heard: float) -> None:
        """A coordinator took the run up, for the first time or again."""
        state = self._state(event.run, event.identity, event.at)
        state.function, state.size, state.names = event.function, event.size, event.names
        state.status, state.started, state.heard = RunStatus.ACTIVE, event.at, heard
        state.settled_before = event.settled
        state.done = min(state.done, event.settled) if state.counted else event.settled
        state.dead = event.settled - state.done  # those that are retried are dead no more
        state.told = event.at

    def on_progress(self, event: RunProgress, heard: float) -> None:
        """The ledger's figures as of ``event.at``."""
        state = self._state(event.run, event.identity, event.at)
        self._count(state, event.done, event.dead, event.at)
        state.size, state.retrying, state.submitted = event.size, event.retrying, event.submitted
        state.chunks_settled, state.rate, state.eta_seconds = event.chunks_settled, event.rate, event.eta_seconds
        state.eta_least_seconds, state.eta_most_seconds = event.eta_least_seconds, event.eta_most_seconds
        state.status, state.note, state.heard = RunStatus.ACTIVE, event.note, heard

    def on_ended(self, event: RunEnded, heard: float) -> None:
        """The coordinator let go; the rate becomes the average."""
        state = self._state(event.run, event.identity, event.at)
        self._count(state, event.done, event.dead, event.at)
        state.status, state.seconds, state.heard = event.status, event.seconds, heard
        settled = event.done + event.dead - state.settled_before
        state.rate = settled / event.seconds if event.seconds > 0 else 0.0

    def on_records(self, records: Iterable[RunRecord], now: float) -> None:
        """What the broker knows: who leads which run, also of those that have not said anything lately."""
        for record in records:
            state = self.states.get(record.run)
            if state is None or (state.identity != record.identity and record.started > state.started):
                state = self._state(record.run, record.identity, record.started)
                state.function, state.size, state.status = record.function, record.size, record.status
                state.heard = min(record.renewed, now)
            if state.identity == record.identity:
                if state.record is None or state.record.revision != record.revision:
                    state.renewed = now if state.record is not None else min(record.renewed, now)
                state.record = record
                if state.active and not record.is_active:
                    state.status = record.status

    def is_active(self, run: str) -> bool:
        """Whether it is known and has not ended."""
        state = self.states.get(run)
        return state is not None and state.active

    def any_active(self, now: float) -> bool:
        """Whether some run is under way and its coordinator was heard of lately."""
        return any(state.active and now - state.heard < SILENT_AFTER_SECONDS for state in self.states.values())

    def at(self, now: float) -> list[RunView]:
        """Runs as seen at ``now``, newest first."""
        return [state.at(now) for state in reversed(self.states.values())]

    def throughput(self, now: float) -> ThroughputView:
        """Settled parameters per second over all runs since the beginning of the current activity."""
        strips = self.settled
        if strips.began is None or not strips.rows:
            return ThroughputView(strips.began or now, strips.bucket_seconds, [], now)
        total = np.sum([row[0] for row in strips.rows.values()], axis=0)
        return ThroughputView(strips.began, strips.bucket_seconds, strips.rates(total), strips.ended)

    def _count(self, state: RunState, done: int, dead: int, at: float) -> None:
        """Set the totals; what is new since the last report was settled evenly between the two."""
        gained = done + dead - state.done - state.dead
        if state.told is not None and gained > 0:
            self.settled.add(state.run, min(state.told, at), at, (gained,))
        state.done, state.dead, state.told, state.counted = done, dead, at, True

    def _state(self, run: str, identity: str, at: float) -> RunState:
        """The state of the run with this identity; another one that went by its id is forgotten."""
        state = self.states.get(run)
        if state is None or state.identity != identity:
            self.states.pop(run, None)
            self._make_room()
            state = self.states[run] = RunState(run, identity, started=at)
        return state

    def _make_room(self) -> None:
        if len(self.states) < RUNS_KEPT:
            return
        ended = (name for name, state in self.states.items() if not state.active)
        del self.states[next(ended, next(iter(self.states)))]
