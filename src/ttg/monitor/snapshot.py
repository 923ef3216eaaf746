"""The one model: events and queue figures fold into it, views come out of it. Pure, and bounded whatever happens.

No clock is read here: whoever folds says when something was heard. What was committed comes from the coordinator's
ledger (:class:`~ttg.messages.RunProgress`), queue figures from the broker; neither is guessed from the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from ttg.brokers.base import BrokerStats
from ttg.messages import (
    AnyEvent,
    ParametersFailed,
    RunEnded,
    RunProgress,
    RunRecord,
    RunStarted,
    TasksSettled,
    WorkerHeartbeat,
    WorkerLost,
    WorkerStopped,
)
from ttg.messages.events import RunEvent
from ttg.monitor.failure_groups import Causes, FaultEntry, Faults
from ttg.monitor.history import RunHistory
from ttg.monitor.run_view import Runs
from ttg.monitor.series import History
from ttg.monitor.timeline import Timeline, TimelineView
from ttg.monitor.view import QueueView, RunView, View
from ttg.monitor.words import as_broker
from ttg.monitor.workers import Workers, by_state

STALE_AFTER_SECONDS = 5.0
HISTORIES_KEPT = 16
LONGEST_UNKNOWN_SECONDS = 60.0


class Snapshot:
    """What is known of one namespace of one broker.

    ``heard`` (Unix time on the monitor's clock) is when an event arrived; for events from the past it is left out and
    the event's own time counts. So a worker whose clock is wrong is alive all the same. ``histories`` are those of the
    runs that were heard of last.
    """

    def __init__(self) -> None:
        self.runs = Runs()
        self.workers = Workers()
        self.causes = Causes()
        self.faults = Faults()
        self.timeline = Timeline()
        self.histories: dict[str, RunHistory] = {}
        self._stats: BrokerStats | None = None
        self._depths: dict[str, History] = {}
        self._heard = 0.0
        self.outage = ""
        self.watched = True
        """Whether there is a broker to hear of; otherwise this is a picture of what was."""
        self.caught_up = False
        """Whether all that happened before somebody looked has been folded."""
        self._closed_at = math.inf

    # -- in

    def fold(self, event: AnyEvent, heard: float | None = None) -> None:
        """Take one event of the events log into account."""
        heard = event.at if heard is None else heard
        match event:
            case WorkerHeartbeat():
                self.workers.on_heartbeat(event, heard)
            case TasksSettled():
                self.timeline.on_settled(event.worker, event.tasks)
                for task in event.tasks:
                    self._history(task.run).on_settled(event.worker, (task,))
            case RunProgress():
                self.runs.on_progress(event, heard)
            case RunStarted():
                self._history(event.run).go_on(event.at)
                self._restart_if_idle(event.at, heard)
                self.runs.on_started(event, heard)
            case RunEnded():
                self.runs.on_ended(event, heard)
            case WorkerStopped():
                self.workers.on_stopped(event, heard)
            case WorkerLost():
                self.workers.on_lost(event, heard)
            case ParametersFailed():
                self.causes.on_failed(event)
            case _:
                pass
        self.faults.on_event(event)
        for run, history in self.histories.items():
            if self.runs.is_active(run) or isinstance(event, RunEvent):
                history.on_event(event)

    def fold_stats(self, stats: BrokerStats, at: float) -> None:
        """The broker answered: its queues as they are now."""
        self._stats, self._heard, self.outage = stats, at, ""
        for queue in stats.queues:
            self._depths.setdefault(queue.name, History()).add(at, queue.messages)

    def fold_records(self, records: Iterable[RunRecord], at: float) -> None:
        """The broker's records of runs as they are now."""
        self.runs.on_records(records, at)

    def fold_outage(self, text: str) -> None:
        """The broker did not answer, because of ``text``; the figures stay, and grow old."""
        self.outage = text

    def fold_trouble(self, text: str, at: float) -> None:
        """Something beside the broker is wrong while runs go on, such as what a cluster warns of."""
        fault = FaultEntry(at, "trouble_around", "warning", text)
        for faults in (
            self.faults,
            *(self.histories[run].faults for run in self.histories if self.runs.is_active(run)),
        ):
            faults.add(fault)

    def has_ended(self, run: str) -> bool:
        """Whether ``run`` is known to have ended, and not only once before."""
        return self.caught_up and run in self.runs.states and not self.runs.is_active(run)

    def close(self, at: float) -> None:
        """What there was to hear has been heard: the picture stays as it is at ``at``, and is not stale."""
        self._closed_at = at

    def _history(self, run: str) -> RunHistory:
        """That of ``run``, now the newest one."""
        history = self.histories.pop(run, None) or RunHistory(run)
        if len(self.histories) >= HISTORIES_KEPT:
            del self.histories[next(iter(self.histories))]
        self.histories[run] = history
        return history

    def _restart_if_idle(self, at: float, heard: float) -> None:
        """The first run after a pause begins a new picture: timeline and throughput are about one activity."""
        if not self.runs.any_active(heard):
            self.timeline.restart(at)
            self.runs.settled.restart(at)

    # -- out

    def at(self, now: float) -> View:
        """Everything as seen at Unix time ``now``."""
        now = min(now, self._closed_at)
        workers = self.workers.at(now)
        age = max(0.0, now - self._heard)
        return View(
            at=now,
            backend=self._stats.backend if self._stats else "",
            broker=as_broker(self._stats.backend, self._stats.version) if self._stats else "",
            connected=self._stats is not None and not self.outage,
            stale=bool(self._heard or self.outage) and now < self._closed_at and age > STALE_AFTER_SECONDS,
            heard_seconds=age if self._heard else 0.0,
            outage=self.outage,
            queues=self._queues(),
            runs=[self._with_failures(run) for run in self.runs.at(now)],
            workers=workers,
            workers_by_state=by_state(worker.state for worker in workers),
            slots_by_state=by_state(
                slot.state for worker in workers if worker.state == "alive" for slot in worker.slots
            ),
            throughput=self.runs.throughput(now),
            causes=self.causes.at(),
            causes_left_out=self.causes.left_out,
            faults=self.faults.at(),
            totals=dict(sorted(self.faults.totals.items())),
            caught_up=self.caught_up or not self.watched,
        )

    def known_until(self, run: str, now: float) -> float:
        """Until when all is known that ``run`` has settled: since when its slots are busy with what they have now. One
        that is at it for long is not waited for: beside it little is missing."""
        since = (
            now - slot.seconds
            for worker in self.workers.at(now)
            for slot in worker.slots
            if worker.state == "alive" and slot.state == "busy" and slot.run == run
        )
        return max(min(since, default=math.inf), now - LONGEST_UNKNOWN_SECONDS)

    def _with_failures(self, run: RunView) -> RunView:
        causes = self.causes
        return msgspec.structs.replace(run, cause=causes.commonest(run.run), failures=causes.by_kind(run.run))

    def timeline_at(
        self, now: float, last_seconds: float | None = None, match: str = "", run: str = ""
    ) -> TimelineView:
        """Workers over time as seen at ``now``, of the current activity or of one run; see :meth:`Timeline.view`."""
        now = min(now, self._closed_at)
        history = self.histories.get(run)
        timeline, faults = (history.timeline, history.faults) if history else (self.timeline, self.faults)
        busy = {
            (worker.worker, slot.slot): now - slot.seconds
            for worker in self.workers.at(now)
            for slot in worker.slots
            if worker.state == "alive" and slot.state == "busy" and run in ("", slot.run)
        }
        return timeline.view(now, faults.at(), last_seconds, match, busy_since=busy)

    def _queues(self) -> list[QueueView]:
        stats = self._stats.queues if self._stats else ()
        return [
            QueueView(
                name=queue.name,
                messages=queue.messages,
                ready=queue.ready,
                unacknowledged=queue.unacknowledged,
                consumers=queue.consumers,
                history=self._depths[queue.name].points(),
            )
            for queue in stats
        ]
