"""The picture as Prometheus sees it: ``/metrics`` of the dashboard. A pure function of the :class:`View`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ttg.messages import FAILURE_KINDS, RunStatus
from ttg.metrics import SLOT_STATES, Family, by_state, counter, exposition, gauge
from ttg.monitor.view import QueueView, RunView, View

WORKER_STATES = ("alive", "silent", "lost", "stopped")


def render(view: View) -> str:
    """Prometheus text of ``view``. Figures of a broker that is away are left out rather than repeated as new, and while
    the past is still being read there are none: what counters say first would be taken for what happened just now."""
    return exposition([*_broker(view), *(_picture(view) if view.caught_up else ())])


def _broker(view: View) -> Iterator[Family]:
    if not view.connected and not view.outage:
        return  # not asked yet
    fresh = not view.stale
    yield gauge("ttg_broker_connected", "1 while the broker answers the monitor.", int(view.connected and fresh))
    yield gauge("ttg_broker_heard_age_seconds", "Time since the broker last answered.", view.heard_seconds)
    if fresh:
        yield from _queues(view.queues)


def _picture(view: View) -> Iterator[Family]:
    yield from _runs([run for run in view.runs if run.counted])
    yield _active(view.runs)
    yield by_state("ttg_workers", "Workers by state.", view.workers_by_state, WORKER_STATES)
    yield by_state("ttg_slots", "Slots of living workers by what they do.", view.slots_by_state, SLOT_STATES)
    memory = sum(worker.memory_bytes for worker in view.workers if worker.state == "alive")
    yield gauge("ttg_workers_memory_bytes", "Resident memory of all living workers.", memory)
    yield _failures(view.runs)
    for name, text, kind in (
        ("ttg_workers_lost_total", "Workers whose tasks others took over.", "worker_lost"),
        ("ttg_tasks_taken_over_total", "Chunks taken over.", "tasks_taken_over"),
        ("ttg_children_died_total", "Slots that died unasked.", "child_died"),
    ):
        yield counter(name, text, view.totals.get(kind, 0))


def _runs(runs: list[RunView]) -> Iterator[Family]:
    """The ledgers' figures. What was given up is no counter: a retry takes it back."""
    for make, name, text, attribute in (
        (gauge, "ttg_run_parameters", "Parameters of the run.", "size"),
        (counter, "ttg_run_parameters_done_total", "Parameters with a result in the ledger.", "done"),
        (gauge, "ttg_run_parameters_dead", "Parameters given up after their last attempt.", "dead"),
        (gauge, "ttg_run_parameters_retrying", "Parameters waiting for another attempt.", "retrying"),
        (counter, "ttg_run_chunks_settled_total", "Chunks the run settled.", "chunks_settled"),
        (gauge, "ttg_run_parameters_per_second", "Parameters settled per second.", "rate"),
        (gauge, "ttg_run_eta_seconds", "Estimated time until the run is finished.", "eta_seconds"),
    ):
        yield _labelled(make(name, text, labels=["run"]), ((run.run, getattr(run, attribute)) for run in runs))


def _labelled(family: Family, figures: Iterable[tuple[str, float | None]]) -> Family:
    for label, value in figures:
        if value is not None:
            family.add_metric([label], value)
    return family


def _queues(queues: list[QueueView]) -> Iterator[Family]:
    """Messages as the broker counts them; what it cannot tell is left out."""
    for name, text, attribute in (
        ("ttg_queue_messages", "Messages in the queue, ready and unacknowledged.", "messages"),
        ("ttg_queue_messages_ready", "Messages nobody works on.", "ready"),
        ("ttg_queue_messages_unacknowledged", "Messages somebody works on.", "unacknowledged"),
        ("ttg_queue_consumers", "Consumers of the queue.", "consumers"),
    ):
        figures = ((queue.name, getattr(queue, attribute)) for queue in queues)
        yield _labelled(gauge(name, text, labels=["queue"]), figures)


def _active(runs: list[RunView]) -> Family:
    text = "1 while the run's coordinator is at work, 0 when it ended, is silent, or is told to pause."
    at_work = ((run.run, float(run.status is RunStatus.ACTIVE and not run.stale and not run.paused)) for run in runs)
    return _labelled(gauge("ttg_run_active", text, labels=["run"]), at_work)


def _failures(runs: list[RunView]) -> Family:
    """Failures by run and kind: an error's text is no label, there may be thousands. Every kind from the beginning on:
    of a counter whose first value is 36 no rate can tell those 36."""
    failures = counter("ttg_failures_total", "Failed attempts of parameters.", labels=["run", "kind"])
    for run in runs:
        for kind, count in (dict.fromkeys(FAILURE_KINDS, 0) | run.failures).items():
            failures.add_metric([run.run, kind], count)
    return failures
