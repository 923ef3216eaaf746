"""A run as its folder tells of it: for the pages and terminals of those who look when no broker can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ttg.clock import unix_time
from ttg.messages import RunEnded, RunProgress, RunStarted, RunStatus
from ttg.monitor.history import RunHistory
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.view import CauseView, RunView
from ttg.monitor.web.source import RunOnDisk
from ttg.results.dead_letters import Story, stories
from ttg.results.folder import RunFolder
from ttg.run.kept_history import read_history
from ttg.run.report import counts
from ttg.space.words import described
from ttg.units import size_text, time_text


def on_disk(folder: RunFolder) -> RunOnDisk:
    """Its figures and its settings."""
    info, now = folder.info, unix_time()
    (done, dead), status = counts(folder), folder.status
    going_on = status is RunStatus.ACTIVE
    seconds = now - info.created if going_on else info.seconds
    view = RunView(
        run=info.spec.run,
        function=str(info.spec.function),
        status=status,
        stale=False,
        silent_seconds=now - folder.heard_at if status is RunStatus.ABANDONED else 0.0,
        size=info.size,
        done=done,
        dead=dead,
        retrying=0,
        submitted=info.size,
        chunks_settled=0,
        rate=(done + dead) / seconds if seconds > 0 else 0.0,
        eta_seconds=None,
        started=info.created,
        seconds=seconds,
        names=info.spec.names,
    )
    return RunOnDisk(view, info.spec.identity, str(folder.path), list(_facts(folder)))


def _facts(folder: RunFolder) -> Iterator[tuple[str, str]]:
    info, spec = folder.info, folder.spec
    yield "parameters", f"{info.size:,}: {', '.join(spec.names) or 'no names'}"
    yield from described(spec.space).items()
    yield "folder", str(folder.path)
    if info.started_in:
        yield "started in", info.started_in
    if commit := info.git.get("commit"):
        yield "commit", f"{commit}{' (with changes)' if info.git.get('dirty') else ''}"
    yield "more tries", f"{spec.retry.max_retries}, after {time_text(spec.retry.delay_ms / 1000)}"
    if spec.limits.timeout_seconds:
        yield "limit of a call", time_text(spec.limits.timeout_seconds)
    if spec.limits.memory_bytes:
        yield "limit of memory", size_text(spec.limits.memory_bytes)
    yield "seed", str(spec.seed)
    yield "versions", ", ".join(f"{name} {version}" for name, version in info.versions.items())


def _count_in(history: RunHistory, story: Story) -> None:
    """What the ledger has counts: of the last events nobody may have heard."""
    cause = (history.run, story.sample["kind"], story.error, story.place)
    known = history.causes.groups.get(cause)
    history.causes.groups[cause] = CauseView(
        *cause,
        count=max(story.attempts, known.count if known else 0),
        dead=len(story.dead),
        first=story.first,
        last=story.last,
        **story.example,
    )


def snapshot_of(folder: RunFolder) -> Snapshot:
    """What there is to see of a run that is over."""
    view, now = on_disk(folder).view, unix_time()
    history = read_history(folder.history, view.run) or RunHistory(view.run)
    snapshot = Snapshot()
    snapshot.watched = False
    for story in stories(folder, letters=0):
        _count_in(history, story)
    snapshot.causes, snapshot.faults, snapshot.runs.settled = history.causes, history.faults, history.settled
    signed: dict[str, Any] = {"source": "folder", "run": view.run, "identity": folder.spec.identity}
    counted: dict[str, Any] = {"done": view.done, "dead": view.dead}
    progress: dict[str, Any] = {"size": view.size, "retrying": 0, "submitted": view.size, "rate": 0.0, "workers": 0}
    told = RunStarted(at=view.started, function=view.function, size=view.size, names=view.names, **signed)
    chunks = RunProgress(
        at=view.started, eta_seconds=None, chunks_settled=history.chunks, **progress, **counted, **signed
    )
    ended = RunEnded(at=now, status=view.status, seconds=view.seconds, **counted, **signed)
    snapshot.runs.on_started(told, now)
    snapshot.runs.on_progress(chunks, now)
    snapshot.runs.on_ended(ended, now)
    snapshot.close(now)
    return snapshot
