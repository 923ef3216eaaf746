"""What is kept of a run: complete when it is read again, and small whatever happened."""

from __future__ import annotations

import gzip

import pytest

from synthetic import Fleet
from ttg.errors import MessageError
from ttg.messages import Failure, ParametersFailed, ResultHeader, TaskSettled, TasksSettled
from ttg.monitor.history import LARGEST_BYTES, RunHistory
from ttg.monitor.snapshot import Snapshot


def history_of(fleet: Fleet) -> RunHistory:
    snapshot = Snapshot()
    for event in fleet.events():
        snapshot.fold(event)
    return snapshot.histories[fleet.run]


def test_a_history_is_the_same_when_it_is_read_again() -> None:
    history = history_of(Fleet(size=2_000, chunk=10, workers=4, kill_at=0.36, failing=9))
    again = RunHistory.decoded(history.encoded())
    assert again.chunks == history.chunks
    assert (again.causes.at(), again.faults.at()) == (history.causes.at(), history.faults.at())
    assert again.throughput(0.0).rates == pytest.approx(history.throughput(0.0).rates, rel=1e-2)
    one, other = (some.timeline.view(some.timeline.grid.ended, some.faults.at()) for some in (history, again))
    assert (other.bars, other.lanes, other.marks) == (one.bars, one.lanes, one.marks)


def test_a_long_history_keeps_its_shades_and_stays_small() -> None:
    history = history_of(Fleet(size=100_000, chunk=10, workers=1_000, kill_at=0.5))
    for number in range(300):
        failure = Failure(number, "exception", f"Error{number}", "no" * 5_000, traceback="t" * 100_000)
        history.on_event(
            ParametersFailed(at=1.0, source="w", run=history.run, worker="w", count=1, dead=0, sample=failure)
        )
    data = history.encoded()
    assert len(gzip.decompress(data)) < LARGEST_BYTES
    again = RunHistory.decoded(data)
    view = again.timeline.view(history.timeline.grid.ended, [], lanes_shown=1_000)
    assert len(view.lanes) == 256
    assert view.busy
    assert sum(map(sum, view.busy)) > 0
    assert again.settled.rows[history.run].sum() == pytest.approx(100_000, rel=1e-3)


def test_the_coordinator_counts_what_it_collects_and_a_long_pause_is_not_drawn() -> None:
    history = RunHistory("r")
    for number in range(3):
        started = 100.0 + number
        history.on_header(ResultHeader("r", f"c{number}", ((number * 5, number * 5 + 5),), 1, "w1", 0, started, 1.0))
    assert (history.chunks, history.throughput(103.0).rates) == (3, [5.0, 5.0, 5.0])
    history.go_on(110.0)
    assert history.timeline.newest
    history.go_on(100_000.0)
    assert not history.timeline.newest


def test_runs_at_the_same_time_have_timelines_of_their_own() -> None:
    snapshot = Snapshot()
    for run in ("a", "b"):
        told = (TaskSettled(run, f"{run}1", 0, 5.0, 1.0, 10),)
        snapshot.fold(TasksSettled(at=6.0, source="w", worker="w", tasks=told))
    assert [bar[-1] for bar in snapshot.timeline_at(6.0).bars] == ["a1", "b1"]
    assert [bar[-1] for bar in snapshot.timeline_at(6.0, run="b").bars] == ["b1"]


@pytest.mark.parametrize("text", ["", "no", "{}", '{"version": 9}'])
def test_what_is_no_history_is_said_to_be_none(text: str) -> None:
    with pytest.raises(MessageError, match="expected the history of a run"):
        RunHistory.decoded(gzip.compress(text.encode()) if text else b"")


def test_a_step_that_has_only_begun_is_no_peak() -> None:
    history = RunHistory("r")
    history.on_settled("w", [TaskSettled("r", "1", 0, 0.0, 10.0, 5), TaskSettled("r", "2", 0, 10.0, 0.01, 1)])
    assert max(history.throughput(10.01).rates) < 2.0


def test_the_throughput_of_a_run_that_goes_on_ends_where_chunks_are_still_under_way() -> None:
    history = RunHistory("r")
    for number in range(4):
        header = ResultHeader("r", f"c{number}", ((number * 10, number * 10 + 10),), 1, f"w{number % 2}", 0, 0.0, 1.0)
        for started, worker in ((100.0 + 2 * number, 0), (101.0 + 2 * number, 1)):
            told = ResultHeader("r", f"{header.task}.{worker}", header.ranges, 1, f"w{worker}", 0, started, 2.0)
            history.on_header(told)
    assert history.throughput(110.0).rates[-1] == 5.0  # of the one chunk that was settled last
    known = history.throughput(110.0, known_until=108.2)
    assert (known.rates, known.ended) == ([5.0] + [10.0] * 7, 108.0)
    assert history.pace() == [50, 100, 100, 100, 100, 100, 100, 100, 50]
    assert RunHistory("r").pace() == []


def test_until_when_all_is_known_is_since_when_slots_are_busy() -> None:
    snapshot = Snapshot()
    fleet = Fleet(size=1_000, chunk=10, workers=2, call_seconds=0.3)
    for event in fleet.events():
        snapshot.fold(event)
        if fleet.settled_chunks >= 8:
            break
    since = min(started for started, _ in fleet.busy.values())
    assert snapshot.known_until(fleet.run, fleet.now) == pytest.approx(since, abs=3.5)
    assert snapshot.known_until(fleet.run, fleet.now) < fleet.now
    assert snapshot.known_until("another", fleet.now) == float("inf")
