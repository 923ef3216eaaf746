"""What a page is sent: sections of the view, each only when it has changed, for an idle page should cost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ttg.clock import unix_time
from ttg.errors import InputError
from ttg.messages import RunStatus
from ttg.monitor.view import QueueView, RunView, View, to_plain
from ttg.monitor.web.runs import RunPages

RUNS_SHOWN = 8
FAULTS_SHOWN = 40
ALIVE_EVERY_SECONDS = 2.0
DEPTHS_EVERY_SECONDS = 5.0
DISK_EVERY_SECONDS = 5.0


@dataclass
class Farewell:
    """What pages are told when the run has ended (``note``) and when the dashboard does (``text``)."""

    text: str = "This dashboard has ended: what you see stays as it was."
    note: str = ""
    ending: Callable[[], bool] = lambda: False


class Sections:
    """One page's stream. ``run`` is the run that it shows, if it shows one."""

    def __init__(self, pages: RunPages, run: str, farewell: Farewell) -> None:
        self._pages = pages
        self._run = run
        self._farewell = farewell
        self._sent: dict[str, bytes] = {}
        self._alive_at = self._depths_at = self._disk_at = 0.0

    async def changes(self, *, last: bool = False) -> bytes:
        """JSON of the sections that have changed since, and ``at``; nothing while nothing has to be said."""
        now = unix_time()
        view = self._pages.snapshot.at(now)
        sections = dict(_of_view(view, watched=self._pages.snapshot.watched))
        sections["note"] = self._farewell.note
        if last:
            sections["farewell"] = self._farewell.text
        if last or now - self._depths_at >= DEPTHS_EVERY_SECONDS:
            self._depths_at = now
            sections["depths"] = [_depths(queue) for queue in view.queues]
        if self._run and (last or self._is_due(view, now)):
            self._disk_at = now
            sections["page"] = await asyncio.to_thread(self._page)
        encoded = {name: msgspec.json.encode(section) for name, section in sections.items()}
        changed = {name: msgspec.Raw(section) for name, section in encoded.items() if self._sent.get(name) != section}
        self._sent |= encoded
        if not changed and now - self._alive_at < ALIVE_EVERY_SECONDS:
            return b""
        self._alive_at = now
        return msgspec.json.encode({"at": round(now, 1), **changed})

    def _is_due(self, view: View, now: float) -> bool:
        """A run that goes on is looked at each time; a folder less often."""
        heard = next((run for run in view.runs if run.run == self._run), None)
        return now - self._disk_at >= DISK_EVERY_SECONDS or (heard is not None and heard.status is RunStatus.ACTIVE)

    def _page(self) -> Any:
        try:
            return to_plain(self._pages.detail(self._run))
        except InputError as error:
            return {"unknown": str(error)}


def _of_view(view: View, *, watched: bool) -> Iterator[tuple[str, Any]]:
    """What every page is told. Ages of what is well are left out: they change all the time."""
    told = {"name": view.broker, "connected": view.connected, "stale": view.stale, "outage": view.outage}
    yield "broker", {"watched": watched, **told}
    if view.stale:
        yield "heard_seconds", round(view.heard_seconds)
    yield "queues", [_without_history(queue) for queue in view.queues]
    yield "runs", [_rounded(run) for run in _shown(view.runs)]
    yield "runs_known", len(view.runs)
    yield "workers_by_state", view.workers_by_state
    yield "slots_by_state", view.slots_by_state
    yield "throughput", to_plain(view.throughput)
    yield "faults", [to_plain(fault) for fault in view.faults[:FAULTS_SHOWN]]


def _shown(runs: Sequence[RunView]) -> list[RunView]:
    """Those that go on, and the newest of the others."""
    return sorted(runs, key=lambda run: run.status is not RunStatus.ACTIVE)[:RUNS_SHOWN]


def _rounded(run: RunView) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(run)
    step = 1 if run.silent_seconds < 60 else 60
    plain["silent_seconds"] = round(run.silent_seconds / step) * step
    plain |= {"seconds": round(run.seconds, 1), "rate": float(f"{run.rate:.4g}"), "started": round(run.started, 1)}
    for name in ("eta_seconds", "eta_least_seconds", "eta_most_seconds"):
        if plain[name] is not None:
            plain[name] = round(plain[name], 1)
    return plain


def _without_history(queue: QueueView) -> dict[str, Any]:
    return {name: getattr(queue, name) for name in ("name", "messages", "ready", "unacknowledged", "consumers")}


def _depths(queue: QueueView) -> dict[str, Any]:
    """Where the depth changed, as seconds since ``began`` and messages: a queue at rest is two points for ever."""
    points = queue.history
    kept = [
        point
        for place, point in enumerate(points)
        if place in (0, len(points) - 1) or not points[place - 1][1] == point[1] == points[place + 1][1]
    ]
    if len(kept) > 1 and kept[-1][1] == kept[-2][1]:
        kept.pop()  # the page draws the last one on to the present
    began = kept[0][0] if kept else 0.0
    return {"name": queue.name, "began": round(began, 1), "points": [[round(at - began, 1), n] for at, n in kept]}
