"""The hot loop: every index is executed once, failures cost only themselves, and the bounds hold."""

from __future__ import annotations

import threading
from bdb import BdbQuit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttg.messages import Task, indices_of, ranges_of
from ttg.messages.ranges import index_at, without
from ttg.results.encode import decode_payload
from ttg.spec import FunctionRef, RunSpec
from ttg.stores import Store
from ttg.worker import execution
from ttg.worker.execution import Execution
from ttg.worker.loading import Pace, positions_of
from ttg.worker.protocol import Report
from ttg.worker.scalars import ScalarResults
from ttg.worker.surroundings import Surroundings

SPEC = RunSpec("run", FunctionRef("module", "m", "f"), {}, 1_000, ("i",))


@dataclass
class Numbers:
    """A function over the index itself."""

    function: Callable[..., Any]
    spec: RunSpec = SPEC
    pace: Pace = field(default_factory=Pace)
    as_array: bool = False
    surroundings: Surroundings = field(default_factory=Surroundings)
    one_by_one: bool = False

    def columns_of(self, task: Task, start: int, stop: int) -> Sequence[Sequence[Any]]:
        return [np.arange(start, stop) if self.as_array else range(start, stop)]  # type: ignore[list-item]

    parameters_of = columns_of
    workdirs = None
    prints_by_python = False
    makes_calls = False

    def results(self, *, packs: bool) -> ScalarResults:
        return ScalarResults(packs=packs)


def task_of(*ranges: tuple[int, int], bisect_depth: int = 0) -> Task:
    return Task("run", "c", ranges, bisect_depth=bisect_depth)


def execute(
    function: Callable[..., Any],
    task: Task,
    *,
    pace: Pace | None = None,
    checkpoint_seconds: float = 60.0,
    stop: Callable[[], bool] = lambda: False,
    vectorized: bool = False,
    announced: list[tuple[int, int]] | None = None,
) -> tuple[Report, dict[int, Any]]:
    """The report, and the value of each index in its payload."""
    work = Numbers(function, pace=pace or Pace(), as_array=vectorized)
    run = Execution(task, work, vectorized)
    run.run(checkpoint_seconds, lambda offset, count, _: (announced or []).append((offset, count)), stop)
    report, payload = run.report(1)
    parts = [*indices_of(report.done), *(f.index for f in report.failures), *indices_of(report.remaining)]
    assert sorted(parts) == list(indices_of(task.ranges)), "the report does not cover the task"
    batch = decode_payload(payload) if payload else None
    values = batch.column("result").to_pylist() if batch else []
    return report, dict(zip(indices_of(report.done), values, strict=True))


def slow_pace() -> Pace:
    return Pace(call_seconds=1e-3)


@pytest.mark.parametrize("pace", [Pace, slow_pace])
@settings(deadline=None)
@given(st.sets(st.integers(0, 400), min_size=1), st.sets(st.integers(0, 400)))
def test_failures_cost_only_themselves(pace: Callable[[], Pace], indices: set[int], bad: set[int]) -> None:
    def function(i: int) -> int:
        if i in bad:
            raise ValueError(f"bad {i}")
        return 2 * i

    report, values = execute(function, Task("run", "c", ranges_of(sorted(indices))), pace=pace())

    assert values == {i: 2 * i for i in indices - bad}
    assert {failure.index: failure.message for failure in report.failures} == {i: f"bad {i}" for i in indices & bad}
    assert report.remaining == ()


@pytest.mark.parametrize("error", [StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
@pytest.mark.parametrize("pace", [Pace, slow_pace])
def test_no_exception_escapes(error: type[BaseException], pace: Callable[[], Pace]) -> None:
    def function(i: int) -> int:
        if i in (0, 7, 19):
            raise error
        return i

    report, values = execute(function, task_of((0, 20)), pace=pace())

    assert [(failure.index, failure.error) for failure in report.failures] == [(i, error.__name__) for i in (0, 7, 19)]
    assert len(values) == 17


def test_a_forgotten_breakpoint_is_final_and_says_where_it_stops() -> None:
    def function(i: int) -> int:
        if i:
            raise BdbQuit
        return i

    report, values = execute(function, task_of((0, 2)))
    assert values == {0: 0}
    assert [(failure.final, "ttg call RUN INDEX" in failure.message) for failure in report.failures] == [(True, True)]


def test_what_cannot_succeed_is_final() -> None:
    def wrong(x: int) -> int:
        return x

    def wrong_itself(i: int) -> int:
        raise ValueError("wrong_itself() has no answer now")

    def hidden(*values: Any) -> Any:
        return wrong(*values, y=1) if values[0] else wrong("a" + 1)  # type: ignore[call-arg, operator]

    def final(function: Callable[..., Any], target: str, *, vectorized: bool = False) -> list[bool]:
        work = Numbers(function, as_array=vectorized)
        work.spec = msgspec.structs.replace(SPEC, function=FunctionRef("file", "sim.py", target))
        run = Execution(task_of((0, 2)), work, vectorized)
        run.run(60.0, lambda *_: None, lambda: False)
        return [failure.final for failure in run.report(1)[0].failures]

    assert final(lambda: 1, "f") == [True, True], "it takes no argument"
    assert final(hidden, "wrong") == [False, True], "the function that the decorator hides takes no y"
    assert final(hidden, "other") == [False, False], "something that it calls: perhaps on this worker only"
    assert final(lambda i: threading.Lock(), "f") == [True, True], "no column holds a lock"
    assert final(lambda i: i[1:], "f", vectorized=True) == [True, True], "a column of another length"
    assert final(lambda i: int("one"), "f") == [False, False]
    assert final(wrong_itself, "wrong_itself") == [False, False], "what it says of itself"


def test_failures_tell_where_and_why() -> None:
    def inner(i: int) -> float:
        return 1 / i

    report, _ = execute(lambda i: inner(i), task_of((0, 3)))

    (failure,) = report.failures
    assert failure.place.startswith(__file__)
    assert failure.place.endswith("(inner)")
    assert "division by zero" in failure.traceback
    assert "worker/execution.py" not in failure.traceback, "our own frames are left out"


def test_slices_are_announced_unless_they_are_the_whole_task() -> None:
    announced: list[tuple[int, int]] = [(0, 0)]
    execute(lambda i: i, task_of((0, 1)), announced=announced)
    assert announced[1:] == []

    execute(lambda i: i, task_of((0, 5), (7, 9)), announced=announced)
    assert announced[1] == (0, 1), "the first slice of a function of unknown speed is one parameter"
    assert sum(count for _, count in announced[1:]) == 7
    assert [offset for offset, _ in announced[1:]] == sorted({offset for offset, _ in announced[1:]})


def test_a_suspicious_task_runs_one_by_one() -> None:
    announced: list[tuple[int, int]] = [(0, 0)]
    execute(lambda i: i, task_of((0, 4), bisect_depth=1), announced=announced, pace=Pace(1e-7, 8.0, 1000))
    assert announced[1:] == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_it_stops_at_the_checkpoint_and_when_told() -> None:
    report, values = execute(lambda i: i, task_of((0, 100)), checkpoint_seconds=0.0)
    assert (len(values), report.remaining) == (1, ((1, 100),))

    report, values = execute(lambda i: i, task_of((0, 100)), stop=lambda: True)
    assert (values, report.remaining) == ({}, ((0, 100),))


@pytest.mark.parametrize("pace", [Pace, slow_pace])
def test_too_many_failures_end_the_assignment(pace: Callable[[], Pace], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MAX_FAILURES", 10)

    report, values = execute(lambda i: 1 / (i % 2), task_of((0, 100)), pace=pace())

    assert len(report.failures) == 10
    assert report.remaining[0][0] <= 20
    assert values


def test_what_cannot_be_encoded_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def function(i: int) -> object:
        return threading.Lock() if i % 3 == 0 else i

    report, values = execute(function, task_of((0, 9), (12, 15)))
    assert values == {i: i for i in (1, 2, 4, 5, 7, 8, 13, 14)}
    assert {failure.kind for failure in report.failures} == {"encoding"}

    monkeypatch.setattr(execution, "MAX_FAILURES", 2)
    report, values = execute(function, task_of((0, 9), (12, 15)))
    assert [failure.index for failure in report.failures] == [0, 3]
    assert (values, report.remaining) == ({1: 1, 2: 2, 4: 4, 5: 5}, ((6, 9), (12, 15)))


def test_a_payload_stays_below_what_a_message_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MAX_PAYLOAD_BYTES", 10_000)

    report, values = execute(lambda i: "x" * 900, task_of((0, 100)), pace=Pace(1e-6, 8.0, 1000))
    assert 1 <= len(values) < 12
    assert report.remaining

    report, values = execute(lambda i: "x" * (20_000 if i == 1 else 10), task_of((1, 2)))
    assert [failure.kind for failure in report.failures] == ["encoding"]
    assert "write large results to files" in report.failures[0].message


@pytest.mark.parametrize("stopped", [True, False])
def test_a_result_whose_store_stays_away_is_left_to_others_and_costs_nobody_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    monkeypatch.setattr(execution, "MAX_PAYLOAD_BYTES", 100_000)
    monkeypatch.setattr(execution, "STORE_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(execution, "STORE_PAUSE_SECONDS", 0.05)
    told: list[str] = []
    store = Store.attach(Store.create(str(tmp_path / "store")))
    store.clear()
    run = Execution(task_of((5, 6)), Numbers(lambda i: "x" * 200_000, pace=Pace()), store=store)
    run.run(60.0, lambda *_: None, lambda: False)
    report, payload = run.report(1, lambda: stopped, told.append)
    assert (report.done, report.failures, report.remaining, payload) == ((), (), ((5, 6),), b"")
    assert [text.partition(": ")[0] for text in told] == [] if stopped else ["waiting with a result of 0.2 MiB"]


def test_a_store_that_comes_back_gets_the_result_that_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MAX_PAYLOAD_BYTES", 100_000)
    monkeypatch.setattr(execution, "STORE_PAUSE_SECONDS", 0.01)
    store = Store.attach(Store.create(str(tmp_path / "store")))
    store.clear()
    run = Execution(task_of((5, 6)), Numbers(lambda i: "x" * 200_000, pace=Pace()), store=store)
    run.run(60.0, lambda *_: None, lambda: False)
    report, payload = run.report(1, lambda: False, lambda text: store.restore(tmp_path / "none"))
    assert (report.done, report.failures, payload) == (((5, 6),), (), b"")
    assert report.stored
    assert len(store.get(report.stored)) == report.stored.size


@pytest.mark.parametrize("unshared", ["", "/nfs is not shared"])
def test_what_only_a_store_could_hold_is_tried_again_where_another_worker_may_share_it(
    monkeypatch: pytest.MonkeyPatch, unshared: str
) -> None:
    monkeypatch.setattr(execution, "MAX_PAYLOAD_BYTES", 100_000)
    run = Execution(task_of((5, 6)), Numbers(lambda i: "x" * 200_000, pace=Pace()), unshared=unshared)
    run.run(60.0, lambda *_: None, lambda: False)
    (failure,) = run.report(1)[0].failures
    assert failure.final is not bool(unshared)
    assert (unshared or "give the run a --store") in failure.message


def test_calls_are_timed_one_by_one_once_they_are_slow() -> None:
    work = Numbers(lambda i: i, pace=slow_pace())
    run = Execution(task_of((0, 5)), work)
    run.run(60.0, lambda *_: None, lambda: False)
    assert len(run.seconds) == 5


def test_a_vectorized_function_gets_columns_and_a_bad_batch_is_halved_down_to_the_culprit() -> None:
    def function(i: np.ndarray) -> np.ndarray:
        if (i == 37).any():
            raise ValueError("37")
        return i * 2.0

    report, values = execute(function, task_of((0, 100)), vectorized=True, pace=Pace(1e-6, 8.0, 1000))
    assert values == {i: 2.0 * i for i in range(100) if i != 37}
    assert [failure.index for failure in report.failures] == [37]


def test_a_vectorized_function_must_return_whole_columns() -> None:
    report, values = execute(lambda i: 5, task_of((0, 2)), vectorized=True)
    assert not values
    assert "expected a column of 1 values" in report.failures[0].message


@given(st.sets(st.integers(0, 60), min_size=1), st.data())
def test_range_arithmetic(indices: set[int], data: st.DataObject) -> None:
    ranges = ranges_of(sorted(indices))
    holes = data.draw(st.sets(st.sampled_from(sorted(indices))))
    assert list(indices_of(without(ranges, holes))) == sorted(indices - holes)
    for position, index in enumerate(sorted(indices)):
        assert index_at(ranges, position) == index
        assert positions_of(ranges, index, index + 1) == slice(position, position + 1)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    "wrap", [lambda buffer: buffer, lambda buffer: {"result": buffer}, lambda buffer: (buffer, 1), list], ids=range(4)
)
def test_a_function_may_return_the_same_array_each_time(wrap: Callable[[Any], Any], slow: bool) -> None:
    buffer = np.zeros(1)

    def function(i: int) -> Any:
        buffer[0] = i
        return wrap(buffer)

    pace = slow_pace() if slow else Pace()
    _, values = execute(function, task_of((0, 100)), pace=pace)
    assert str(values) == str(
        {
            index: execute(lambda i: wrap(np.array([float(i)])), task_of((index, index + 1)))[1][index]
            for index in range(100)
        }
    )


@pytest.mark.parametrize("late", [1, 9, 50])
def test_also_when_that_is_seen_late(late: int) -> None:
    buffer = [0]

    def function(i: int) -> Any:
        buffer[0] = i
        return buffer if i >= late else None

    _, values = execute(function, task_of((0, 100)))
    assert values == {index: [index] if index >= late else None for index in range(100)}


@pytest.mark.parametrize(("key", "make"), [("result", lambda i: {"result": i}), (0, lambda i: [i])], ids=type)
def test_only_what_somebody_else_refers_to_is_copied(key: Any, make: Callable[[int], Any]) -> None:
    pace, kept = Pace(), [make(0)]
    execute(make, task_of((0, 100)), pace=pace)
    assert not pace.detaches

    def function(i: int) -> Any:
        kept[0][key] = -1
        kept[0] = make(i)
        return kept[0]

    _, values = execute(function, task_of((0, 100)), pace=pace)
    assert pace.detaches
    assert values == {i: i if key else [i] for i in range(100)}
