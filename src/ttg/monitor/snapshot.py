"""The one model: events and queue figures fold into it, views come out of it. Pure, and bounded whatever happens.

No clock is read here: whoever folds says when something was heard. What was committed comes from the coordinator's
ledger (:class:`~ttg.messages.RunProgress`), queue figures from the broker; neither is guessed from the other.
"""

from __future__ import annotations

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
from ttg.monitor.failure_groups import Causes, Faults
from ttg.monitor.run_view import Runs
from ttg.monitor.series import History
from ttg.monitor.timeline import LANES_SHOWN, Timeline, TimelineView
from ttg.monitor.view import QueueView, View
from ttg.monitor.words import as_broker
from ttg.monitor.workers import Workers, by_state

STALE_AFTER_SECONDS = 5.0


class Snapshot:
    """What is known of one namespace of one broker.

    ``heard`` (Unix time on the monitor's clock) is when an event arrived; for events from the past it is left out and
    the event's own time counts. So a worker whose clock is wrong is alive all the same.
    """

    def __init__(self) -> None:
        self.runs = Runs()
        self.workers = Workers()
        self.causes = Causes()
        self.faults = Faults()
        self.timeline = Timeline()
        self._stats: BrokerStats | None = None
        self._depths: dict[str, History] = {}
        self._heard = 0.0
        self.outage = ""

    # -- in

    def fold(self, event: AnyEvent, heard: float | None = None) -> None:
        """Take one event of the events log into account."""
        heard = event.at if heard is None else heard
        match event:
            case WorkerHeartbeat():
                self.workers.on_heartbeat(event, heard)
            case TasksSettled():
                self.timeline.on_settled(event.worker, event.tasks)
            case RunProgress():
                self.runs.on_progress(event, heard)
            case RunStarted():
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

    def _restart_if_idle(self, at: float, heard: float) -> None:
        """The first run after a pause begins a new picture: timeline and throughput are about one activity."""
        if not self.runs.any_active(heard):
            self.timeline.restart(at)
            self.runs.settled.restart(at)

    # -- out

    def at(self, now: float) -> View:
        """Everything as seen at Unix time ``now``."""
        workers = self.workers.at(now)
        age = max(0.0, now - self._heard)
        return View(
            at=now,
            backend=self._stats.backend if self._stats else "",
            broker=as_broker(self._stats.backend, self._stats.version) if self._stats else "",
            connected=self._stats is not None and not self.outage,
            stale=age > STALE_AFTER_SECONDS,
            heard_seconds=age if self._heard else 0.0,
            outage=self.outage,
            queues=self._queues(),
            runs=[msgspec.structs.replace(run, cause=self.causes.commonest(run.run)) for run in self.runs.at(now)],
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
        )

    def timeline_at(
        self, now: float, last_seconds: float | None = None, match: str = "", lanes_shown: int = LANES_SHOWN
    ) -> TimelineView:
        """Workers over time as seen at ``now``; see :meth:`Timeline.view`."""
        return self.timeline.view(now, self.faults.at(), last_seconds, match, lanes_shown)

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
