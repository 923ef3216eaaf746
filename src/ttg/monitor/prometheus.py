"""The picture as Prometheus sees it: ``/metrics`` of the dashboard. A pure function of the :class:`View`."""

from __future__ import annotations

from ttg.messages import RunStatus
from ttg.metrics import Metric, counter, exposition, gauge, run_families
from ttg.monitor.view import CauseView, QueueView, View

WORKER_STATES = ("alive", "silent", "lost", "stopped")
SLOT_STATES = ("starting", "idle", "busy", "stopping")


def render(view: View) -> str:
    """Prometheus text of ``view``. Figures of a broker that is away are left out rather than repeated as new."""
    fresh = not view.stale
    return exposition(
        [
            gauge("ttg_broker_connected", "1 while the broker answers the monitor.", int(view.connected and fresh)),
            gauge("ttg_broker_heard_age_seconds", "Time since the broker last answered.", view.heard_seconds),
            *(_queues(view.queues) if fresh else []),
            *run_families((run.run, run) for run in view.runs),
            _active(view),
            _by_state("ttg_workers", "Workers by state.", WORKER_STATES, view.workers_by_state),
            _by_state("ttg_slots", "Slots of living workers by what they do.", SLOT_STATES, view.slots_by_state),
            _memory(view),
            *_failures(view.causes),
            counter(
                "ttg_workers_lost_total", "Workers whose tasks others took over.", view.totals.get("worker_lost", 0)
            ),
            counter("ttg_tasks_taken_over_total", "Chunks taken over.", view.totals.get("tasks_taken_over", 0)),
            counter("ttg_children_died_total", "Slots that died unasked.", view.totals.get("child_died", 0)),
        ]
    )


def _queues(queues: list[QueueView]) -> list[Metric]:
    """Messages as the broker counts them; what it cannot tell is left out."""
    figures = {
        "messages": gauge("ttg_queue_messages", "Messages in the queue, ready and unacknowledged."),
        "ready": gauge("ttg_queue_messages_ready", "Messages nobody works on."),
        "unacknowledged": gauge("ttg_queue_messages_unacknowledged", "Messages somebody works on."),
        "consumers": gauge("ttg_queue_consumers", "Consumers of the queue."),
    }
    for queue in queues:
        for attribute, metric in figures.items():
            value = getattr(queue, attribute)
            if value is not None:
                metric.add(value, queue=queue.name)
    return list(figures.values())


def _active(view: View) -> Metric:
    active = gauge("ttg_run_active", "1 while the run's coordinator is at work, 0 when it ended or is silent.")
    for run in view.runs:
        active.add(int(run.status is RunStatus.ACTIVE and not run.stale), run=run.run)
    return active


def _by_state(name: str, text: str, states: tuple[str, ...], counts: dict[str, int]) -> Metric:
    metric = gauge(name, text)
    for state in states:
        metric.add(counts.get(state, 0), state=state)
    return metric


def _memory(view: View) -> Metric:
    alive = sum(worker.memory_bytes for worker in view.workers if worker.state == "alive")
    return gauge("ttg_workers_memory_bytes", "Resident memory of all living workers.", alive)


def _failures(causes: list[CauseView]) -> list[Metric]:
    """Failures by run and kind: an error's text is no label, there may be thousands."""
    totals: dict[tuple[str, str], int] = {}
    for cause in causes:
        totals[cause.run, cause.kind] = totals.get((cause.run, cause.kind), 0) + cause.count
    failures = counter("ttg_failures_total", "Failed attempts of parameters.")
    for (run, kind), count in sorted(totals.items()):
        failures.add(count, run=run, kind=kind)
    return [failures]
