"""The model behind all views: what it says of runs, workers, queues, failures and time, and that it stays small."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

import pytest

from synthetic import BEGAN, Fleet
from ttg.brokers.base import BrokerStats, QueueStats
from ttg.messages import (
    AnyEvent,
    BrokerTrouble,
    Failure,
    ParametersFailed,
    RunEnded,
    RunProgress,
    RunRecord,
    RunStarted,
    RunStatus,
    SlotState,
    TaskSettled,
    TasksSettled,
    WorkerHeartbeat,
    WorkerLost,
    WorkerStopped,
)
from ttg.monitor.series import History, Strips
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.view import to_json, to_plain
from ttg.monitor.workers import natural


def folded(*events: AnyEvent) -> Snapshot:
    snapshot = Snapshot()
    for event in events:
        snapshot.fold(event)
    return snapshot


def started(at: float = BEGAN, **fields: object) -> RunStarted:
    return RunStarted(**{"at": at, "source": "c", "run": "r", "function": "f.py:f", "size": 100} | fields)  # type: ignore[arg-type]


def progress(at: float, done: int, dead: int = 0, rate: float = 10.0, eta: float | None = 8.0) -> RunProgress:
    return RunProgress(
        at=at,
        source="c",
        run="r",
        size=100,
        done=done,
        dead=dead,
        retrying=1,
        submitted=100,
        chunks_settled=done // 10,
        rate=rate,
        eta_seconds=eta,
        workers=2,
    )


def heartbeat(worker: str, at: float, done: int = 0, slots: tuple[SlotState, ...] = ()) -> WorkerHeartbeat:
    return WorkerHeartbeat(
        at=at,
        source=worker,
        worker=worker,
        host="h",
        pid=1,
        state="working",
        interval=2.0,
        done=done,
        slots=slots,
        started=BEGAN,
    )


def lost(worker: str, at: float, tasks: int, after: float = 0.6) -> WorkerLost:
    return WorkerLost(at=at, source="w1", worker=worker, tasks=tasks, after_seconds=after, how="connection")


# ---------------------------------------------------------------------------------------------- runs


def test_a_run_shows_the_ledgers_figures_and_counts_its_eta_down() -> None:
    run = folded(started(), progress(BEGAN + 2, done=20)).at(BEGAN + 3).runs[0]
    assert (run.status, run.done, run.retrying, run.rate, run.stale) == ("active", 20, 1, 10.0, False)
    assert run.eta_seconds == pytest.approx(7.0)
    assert run.seconds == pytest.approx(3.0)
    assert run.fraction == pytest.approx(0.2)


def test_a_silent_coordinator_makes_its_run_stale_with_no_rate_and_no_eta() -> None:
    run = folded(started(), progress(BEGAN + 2, done=20)).at(BEGAN + 60).runs[0]
    assert (run.stale, run.rate, run.eta_seconds) == (True, 0.0, None)
    assert run.silent_seconds == pytest.approx(58)


def record(identity: str = "", **fields: Any) -> RunRecord:
    facts = {"function": "f.py:f", "size": 100, "started": BEGAN, "renewed": BEGAN + 2, "lease_seconds": 15.0}
    return RunRecord(run="r", identity=identity, **{**facts, **fields})


def test_a_run_whose_coordinator_let_its_lease_run_out_is_abandoned() -> None:
    snapshot = folded(started(), progress(BEGAN + 2, done=20))
    snapshot.fold_records([record(revision=1)], BEGAN + 2)
    assert snapshot.at(BEGAN + 10).runs[0].status is RunStatus.ACTIVE
    run = snapshot.at(BEGAN + 42).runs[0]
    assert (run.status, run.stale, run.rate, run.silent_seconds) == (RunStatus.ABANDONED, True, 0.0, 40.0)
    snapshot.fold_records([record(revision=2)], BEGAN + 41)
    assert snapshot.at(BEGAN + 42).runs[0].status is RunStatus.ACTIVE


def test_a_run_that_said_nothing_lately_is_known_from_its_record() -> None:
    snapshot = folded()
    snapshot.fold_records([record(status=RunStatus.INTERRUPTED)], BEGAN + 50)
    (run,) = snapshot.at(BEGAN + 50).runs
    assert (run.run, run.function, run.size, run.status) == ("r", "f.py:f", 100, RunStatus.INTERRUPTED)


def test_another_run_with_the_same_id_begins_from_nothing() -> None:
    snapshot = folded(started(), progress(BEGAN + 2, done=20), started(BEGAN + 5, identity="other", size=7))
    (run,) = snapshot.at(BEGAN + 6).runs
    assert (run.size, run.done) == (7, 0)


def test_an_ended_run_shows_its_average_rate() -> None:
    end = RunEnded(
        at=BEGAN + 10,
        source="c",
        run="r",
        status=RunStatus("finished_with_dead_letters"),
        done=98,
        dead=2,
        seconds=10.0,
    )
    run = folded(started(), progress(BEGAN + 2, done=20), end).at(BEGAN + 500).runs[0]
    assert (run.status, run.stale, run.rate, run.retrying) == ("finished_with_dead_letters", False, 10.0, 0)


def test_a_resumed_run_does_not_count_what_was_settled_before_as_throughput() -> None:
    snapshot = folded(started(settled=60, resumed=True), progress(BEGAN + 1, done=70))
    assert sum(snapshot.at(BEGAN + 1).throughput.rates) == pytest.approx(10)
    assert snapshot.at(BEGAN + 1).faults[0].text == "run r resumed at 60 of 100"


def test_a_monitor_that_joins_late_does_not_invent_a_burst() -> None:
    snapshot = folded(progress(BEGAN + 100, done=50), progress(BEGAN + 101, done=51))
    assert sum(snapshot.at(BEGAN + 101).throughput.rates) == pytest.approx(1)


def test_throughput_sums_to_what_was_settled() -> None:
    fleet = Fleet(size=5_000, chunk=50, failing=7)
    view = folded(*fleet.events()).at(fleet.now)
    throughput = view.throughput
    assert sum(throughput.rates) * throughput.bucket_seconds == pytest.approx(5_000, rel=1e-3)
    assert view.runs[0].done + view.runs[0].dead == 5_000


def test_the_first_run_after_a_pause_begins_a_new_picture() -> None:
    end = RunEnded(at=BEGAN + 10, source="c", run="r", status=RunStatus("finished"), done=100, dead=0, seconds=10.0)
    snapshot = folded(started(), progress(BEGAN + 9, done=90), end, started(at=BEGAN + 1000, run="s"))
    assert snapshot.at(BEGAN + 1001).throughput.began == BEGAN + 1000
    assert [run.run for run in snapshot.at(BEGAN + 1001).runs] == ["s", "r"]


# ---------------------------------------------------------------------------------------------- workers


def test_workers_live_fall_silent_are_lost_stop_and_come_back() -> None:
    snapshot = folded(*(heartbeat(name, BEGAN) for name in ("w1", "w2", "w3", "w10")))
    snapshot.fold(heartbeat("w1", BEGAN + 8))
    snapshot.fold(lost("w2", BEGAN + 8, tasks=1))
    snapshot.fold(WorkerStopped(at=BEGAN + 8, source="w3", worker="w3", reason="drained", tasks=5, done=50))
    view = snapshot.at(BEGAN + 9)
    states = [(worker.worker, worker.state) for worker in view.workers]
    assert states == [("w2", "lost"), ("w10", "silent"), ("w1", "alive"), ("w3", "stopped")]
    assert view.workers_by_state == {"alive": 1, "lost": 1, "silent": 1, "stopped": 1}
    snapshot.fold(heartbeat("w2", BEGAN + 10))
    assert snapshot.at(BEGAN + 10).workers_by_state["alive"] == 2


def test_a_worker_with_a_wrong_clock_is_alive_when_it_is_heard() -> None:
    snapshot = Snapshot()
    slot = SlotState(0, "busy", since=BEGAN - 3601)
    snapshot.fold(heartbeat("w1", at=BEGAN - 3600, slots=(slot,)), heard=BEGAN)
    worker = snapshot.at(BEGAN + 1).workers[0]
    assert worker.state == "alive"
    assert worker.slots[0].seconds == pytest.approx(2.0)


def test_a_workers_rate_is_that_of_its_last_heartbeats() -> None:
    snapshot = folded(*(heartbeat("w1", BEGAN + second, done=int(30 * second)) for second in range(1, 20)))
    assert snapshot.at(BEGAN + 20).workers[0].rate == pytest.approx(30)


def test_names_sort_as_people_count() -> None:
    assert sorted(["w10", "w2", "host-3-w1", "w1", "w²"], key=natural) == ["host-3-w1", "w1", "w2", "w10", "w²"]


# ---------------------------------------------------------------------------------------------- faults and failures


def test_a_lost_worker_is_told_in_one_sentence_however_many_took_over() -> None:
    snapshot = folded(
        heartbeat("w2", BEGAN), lost("w2", BEGAN + 1, tasks=2), lost("w2", BEGAN + 1.1, tasks=1, after=0.7)
    )
    view = snapshot.at(BEGAN + 2)
    assert [fault.text for fault in view.faults] == ["worker w2 lost, 3 chunks taken over after 0.7 s"]
    assert view.totals["tasks_taken_over"] == 3


def test_faults_alike_are_counted_not_repeated() -> None:
    trouble = [BrokerTrouble(at=BEGAN + second, source="w1", text="connection lost") for second in range(5)]
    faults = folded(*trouble).at(BEGAN + 6).faults
    assert [(fault.count, fault.text, fault.at) for fault in faults] == [(5, "w1: connection lost", BEGAN + 4)]


def failed(error: str, count: int, dead: int = 0, run: str = "r") -> ParametersFailed:
    sample = Failure(index=7, kind="exception", error=error, message="m", place="f.py:3 (f)", traceback="Traceback …")
    return ParametersFailed(at=BEGAN, source="w1", run=run, worker="w1", count=count, dead=dead, sample=sample)


def test_failures_are_grouped_by_cause() -> None:
    causes = folded(failed("ValueError", 3), failed("KeyError", 1), failed("ValueError", 4, dead=2)).at(BEGAN).causes
    assert [(cause.error, cause.count, cause.dead) for cause in causes] == [("ValueError", 7, 2), ("KeyError", 1, 0)]


def test_a_run_has_the_commonest_cause_of_its_own_failures() -> None:
    events = [failed("ValueError", 3), failed("KeyError", 1, dead=1), failed("OSError", 9, run="other")]
    causes = folded(started(), *events).causes
    assert [causes.commonest(run) for run in ("r", "other", "well")] == [
        "KeyError at f.py:3 (f): m",
        "OSError at f.py:3 (f): m",
        "",
    ]
    assert [run.cause for run in folded(started(), *events).at(BEGAN).runs] == ["KeyError at f.py:3 (f): m"]


def test_ten_thousand_different_causes_do_not_fill_the_memory() -> None:
    view = folded(*(failed(f"Error{number}", 1) for number in range(10_000))).at(BEGAN)
    assert len(view.causes) == 200
    assert view.causes_left_out == 9_800


# ---------------------------------------------------------------------------------------------- queues and staleness


def stats(messages: int) -> BrokerStats:
    return BrokerStats("redis", "7.2", (QueueStats("ttg.tasks", messages, messages - 1, 1, 3),))


def test_queues_show_the_brokers_figures_and_their_history() -> None:
    snapshot = Snapshot()
    for second in range(1_000):
        snapshot.fold_stats(stats(2_000 - second), BEGAN + second)
    queue = snapshot.at(BEGAN + 1_000).queues[0]
    assert (queue.messages, queue.ready, queue.unacknowledged, queue.consumers) == (1_001, 1_000, 1, 3)
    assert len(queue.history) <= 240
    assert queue.history[-1] == (BEGAN + 999, 1_001)


def test_old_figures_are_called_stale_and_new_ones_are_not() -> None:
    snapshot = Snapshot()
    assert not snapshot.at(BEGAN).stale  # nothing is old before the first answer, unless there is none
    snapshot.fold_outage("nobody answers at redis://h")
    assert snapshot.at(BEGAN).stale
    snapshot.fold_stats(stats(5), BEGAN)
    assert not snapshot.at(BEGAN + 1).stale
    snapshot.fold_outage("nobody answers at redis://h")
    view = snapshot.at(BEGAN + 8)
    assert (view.connected, view.stale, view.outage) == (False, True, "nobody answers at redis://h")
    snapshot.fold_stats(stats(5), BEGAN + 9)
    assert (snapshot.at(BEGAN + 9).connected, snapshot.at(BEGAN + 9).outage) == (True, "")


# ---------------------------------------------------------------------------------------------- time series


def test_a_history_keeps_its_ends_and_its_order() -> None:
    history = History(capacity=10, spacing_seconds=1.0)
    for second in range(1_000):
        history.add(second, second)
    points = history.points()
    assert len(points) <= 11
    assert (points[0], points[-1]) == ((0, 0), (999, 999))
    assert all(before < after for (before, _), (after, _) in pairwise(points))


def test_strips_keep_their_sums_when_the_resolution_halves() -> None:
    strips: Strips[str] = Strips(layers=1, columns=8, bucket_seconds=1.0)
    for second in range(100):
        strips.add("row", second, second + 1.5, (2.0,))
    assert strips.bucket_seconds == 16.0
    assert float(strips.rows["row"].sum()) == pytest.approx(200)


# ---------------------------------------------------------------------------------------------- timeline


def test_few_tasks_are_bars_with_kills_and_takeovers() -> None:
    fleet = Fleet(kill_at=0.36)
    timeline = folded(*fleet.events()).timeline_at(fleet.now)
    assert [(lane.worker, lane.count) for lane in timeline.lanes] == [("w1", 1), ("w2", 1), ("w3", 1)]
    assert len({bar[-1] for bar in timeline.bars}) == 100
    assert [bar[-2] for bar in timeline.bars].count(4) == 1
    killed = next(mark for mark in timeline.marks if mark.kind == "worker_lost")
    assert timeline.lanes[killed.lane].worker == "w3"
    assert killed.at - killed.began == pytest.approx(0.6)


def test_many_workers_become_bands_of_shades() -> None:
    fleet = Fleet(size=40_000, chunk=10, workers=200, slots=2, call_seconds=0.1, failing=50)
    timeline = folded(*fleet.events()).timeline_at(fleet.now)
    assert len(timeline.lanes) <= 64
    assert sum(lane.count for lane in timeline.lanes) == 400
    assert timeline.bars == []
    busy = [cell for row in timeline.busy for cell in row[:-2]]
    assert sum(busy) / len(busy) > 80
    assert sum(map(sum, timeline.trouble)) == pytest.approx(fleet.failed + fleet.dead, rel=0.2)


def test_a_timeline_can_be_narrowed_to_a_worker_and_to_the_last_seconds() -> None:
    fleet = Fleet()
    snapshot = folded(*fleet.events())
    timeline = snapshot.timeline_at(fleet.now, last_seconds=10, match="w2")
    assert [lane.worker for lane in timeline.lanes] == ["w2"]
    assert timeline.lanes_hidden == 2
    assert all(start + seconds >= fleet.now - 10 for _, start, seconds, *_ in timeline.bars)


# ---------------------------------------------------------------------------------------------- size


def test_memory_and_picture_do_not_grow_with_the_number_of_chunks() -> None:
    snapshot = Snapshot()
    workers = [f"w{number}" for number in range(1_000)]
    tracemalloc.start()
    before = _bytes_after(snapshot, workers, chunks=25_000)
    after = _bytes_after(snapshot, workers, chunks=75_000)
    tracemalloc.stop()
    assert after - before < 1_000_000
    assert len(to_json(snapshot.timeline_at(BEGAN + 1_000))) < 300_000


def _bytes_after(snapshot: Snapshot, workers: list[str], chunks: int) -> int:
    """Fold ``chunks`` bars spread over ``workers``; returns the bytes in use afterwards."""
    for number in range(chunks // 25):
        at = BEGAN + number / 10
        tasks = tuple(TaskSettled("r", f"t{number}-{n}", 0, at + n / 25, 0.04, 10) for n in range(25))
        worker = workers[number % len(workers)]
        snapshot.fold(TasksSettled(at=at + 1, source=worker, worker=worker, tasks=tasks))
    return tracemalloc.get_traced_memory()[0]


def test_a_view_is_plain_data() -> None:
    fleet = Fleet(kill_at=0.5, failing=10)
    snapshot = folded(*fleet.events())
    snapshot.fold_stats(fleet.stats(), fleet.now)
    plain = to_plain(snapshot.at(fleet.now))
    assert plain["runs"][0]["run"] == fleet.run
    assert plain["queues"][0]["name"] == "ttg.tasks"
