"""One run as its pages show it, whether its coordinator is heard of now, or it is over and lies in a folder."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from ttg.clock import unix_time
from ttg.errors import InputError
from ttg.messages import RunStatus
from ttg.monitor.history import RunHistory
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.timeline import TimelineView
from ttg.monitor.view import CauseView, FaultView, RunView, ThroughputView, ViewPart
from ttg.monitor.web.source import FailureView, RunOnDisk, RunsSource

FAULTS_SHOWN = 40


class RunEntry(ViewPart, frozen=True):
    """A run in the list of all: ``folder`` is empty for one that is known from the broker only. ``pace`` is as
    :attr:`RunOnDisk.pace`."""

    view: RunView
    folder: str
    pace: Sequence[int] = ()


class RunDetail(ViewPart, frozen=True):
    """A run's own page. ``live``: its figures are what its coordinator says, otherwise what its folder has.
    ``failing`` counts causes of failures that are not mended."""

    view: RunView
    live: bool
    folder: str
    facts: Sequence[tuple[str, str]]
    throughput: ThroughputView
    faults: Sequence[FaultView]
    failing: int


class RunPages:
    """Over what is heard (``snapshot``) and what lies in folders (``source``). Its methods may block: for threads."""

    def __init__(self, snapshot: Snapshot, source: RunsSource | None) -> None:
        self.snapshot = snapshot
        self.source = source

    def entries(self) -> list[RunEntry]:
        """All runs, from folders and from the broker, the newest first."""
        on_disk = {run.view.run: run for run in reversed(self.source.runs() if self.source else [])}
        heard = {view.run: view for view in self.snapshot.runs.at(unix_time())}
        names = on_disk.keys() | heard.keys()
        entries = (self._entry(on_disk.get(name), heard.get(name)) for name in names)
        return sorted(entries, key=lambda entry: -entry.view.started)

    def detail(self, run: str) -> RunDetail:
        """``InputError`` for a run that nobody knows."""
        now = unix_time()
        on_disk, heard = self._found(run)
        entry = self._entry(on_disk, heard)
        history = self._history(run, entry.view is heard)
        failures = self.failures(run)
        active = entry.view is heard and heard.status is RunStatus.ACTIVE
        known_until = self.snapshot.known_until(run, now) if active else math.inf
        return RunDetail(
            view=_with_history(entry.view, history, is_heard=entry.view is heard),
            live=entry.view is heard,
            folder=entry.folder,
            facts=on_disk.facts if on_disk else [("parameters", f"{entry.view.size:,}: {', '.join(entry.view.names)}")],
            throughput=history.throughput(now, known_until) if history else ThroughputView(now, 1.0, [], now),
            faults=history.faults.at()[:FAULTS_SHOWN] if history else [],
            failing=sum(failure.state != "mended" for failure in failures),
        )

    def timeline(self, run: str, last_seconds: float | None, match: str) -> TimelineView:
        """Workers over the time of this run."""
        on_disk, heard = self._found(run)
        live = self._entry(on_disk, heard).view is heard
        history = self._history(run, live)
        if history is None:
            raise InputError(f"what happened in run {run} was not kept: its results are all there is")
        if live and history is self.snapshot.histories.get(run):
            return self.snapshot.timeline_at(unix_time(), last_seconds, match, run)
        return history.timeline.view(history.timeline.grid.ended, history.faults.at(), last_seconds, match)

    def failures(self, run: str) -> list[FailureView]:
        """What its ledger says, with what was heard of attempts that were tried again; what is given up first."""
        on_disk, heard = self._found(run)
        view = self._entry(on_disk, heard).view
        history = self._history(run, view is heard)
        told = {(cause.error, cause.place): cause for cause in (history.causes.at() if history else ())}
        kept = self.source.failures(run) if self.source and on_disk else []
        of_ledger = [_with_attempts(failure, told.pop((failure.error, failure.place), None)) for failure in kept]
        return [_judged(failure, view.status) for failure in (*of_ledger, *map(_of_cause, told.values()))]

    # -- inside

    def _found(self, run: str) -> tuple[RunOnDisk | None, RunView | None]:
        on_disk = self.source.run(run) if self.source else None
        heard = next((view for view in self.snapshot.runs.at(unix_time()) if view.run == run), None)
        if on_disk is None and heard is None:
            raise InputError(f"no run {run} is known here: the list of runs has those that are")
        return on_disk, heard

    def _entry(self, on_disk: RunOnDisk | None, heard: RunView | None) -> RunEntry:
        """While a run goes on its coordinator knows best; afterwards its ledger does."""
        if on_disk is None:
            assert heard is not None
            return RunEntry(heard, "", self._pace(heard.run))
        if heard is None or not self._goes_on(on_disk, heard):
            return RunEntry(on_disk.view, on_disk.folder, on_disk.pace)
        return RunEntry(heard, on_disk.folder, self._pace(heard.run))

    def _pace(self, run: str) -> list[int]:
        history = self.snapshot.histories.get(run)
        return history.pace() if history else []

    def _goes_on(self, on_disk: RunOnDisk, heard: RunView) -> bool:
        same = self.snapshot.runs.states[heard.run].identity == on_disk.identity
        return heard.status is RunStatus.ACTIVE and (same or heard.started > on_disk.view.started)

    def _history(self, run: str, live: bool) -> RunHistory | None:
        heard = self.snapshot.histories.get(run)
        if live and heard is not None:
            return heard
        return (self.source.history(run) if self.source else None) or heard


def _with_history(view: RunView, history: RunHistory | None, *, is_heard: bool) -> RunView:
    """A folder's table does not know in how many chunks it came."""
    return view if is_heard or history is None else replace(view, chunks_settled=history.chunks)


def _with_attempts(failure: FailureView, cause: CauseView | None) -> FailureView:
    """With the failed attempts that never became a dead letter."""
    if cause is None:
        return failure
    first, last = min(failure.first, cause.first), max(failure.last, cause.last)
    return replace(failure, kind=cause.kind, attempts=max(failure.attempts, cause.count), first=first, last=last)


def _of_cause(cause: CauseView) -> FailureView:
    """What was heard of only: attempts that were repeated, or dead letters that are not in the ledger yet."""
    return FailureView(
        kind=cause.kind,
        error=cause.error,
        place=cause.place,
        dead=cause.dead,
        mended=0,
        attempts=cause.count,
        first=cause.first,
        last=cause.last,
        index=cause.index,
        message=cause.message,
        traceback=cause.traceback,
        output=cause.output,
    )


def _judged(failure: FailureView, status: RunStatus) -> FailureView:
    if status is RunStatus.FINISHED:  # every parameter has a result
        return replace(failure, dead=0, state="mended")
    if failure.dead:
        return failure
    state = "retrying" if status is RunStatus.ACTIVE else "mended" if status.is_finished else "open"
    return replace(failure, state="mended" if failure.mended else state)
