"""The window: what is out is bounded, and losing the memory of it loses nothing."""

from __future__ import annotations

import asyncio
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from ttg.backoff import Backoff
from ttg.messages import DeadLetter, Failure, Ranges, ResultHeader, Task, encode, indices_of, ranges_of
from ttg.messages.rows import unpacked
from ttg.planner import Planner
from ttg.run.submission import TASK_BYTES, Submission
from ttg.run.window import PIECE, Window
from ttg.space import rows, space_to_json
from ttg.spec import FunctionRef, RunSpec


class Taking:
    """A broker that takes tasks."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.calls = 0

    async def submit(self, tasks: list[Task]) -> None:
        self.tasks += tasks
        self.calls += 1


class OffTheLoop:
    """A function that may only be called where no event loop runs."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *arguments: int) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return self._function(*arguments)


class Missing:
    """The ledger's view, kept as a plain set of settled indices."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.settled: set[int] = set()

    def __call__(self, start: int, limit: int) -> Ranges:
        left = (index for index in range(start, self.size) if index not in self.settled)
        return ranges_of(islice(left, limit))


def header(task: str, ranges: Ranges, *, failed: int = 0, attempt: int = 1, dead: int = 0) -> ResultHeader:
    letters = tuple(
        DeadLetter("r", "f", 900 + n, {}, 4, Failure(900 + n, "exception", "E", "m"), "w", 0.0) for n in range(dead)
    )
    return ResultHeader("r", task, ranges, attempt, "w", 0, 0.0, 1.0, failed=failed, dead=letters)


def window(size: int, chunk_size: int) -> tuple[Window, Missing]:
    missing = Missing(size)
    return Window(Planner(size, chunk_size), missing), missing


def test_chunks_cover_the_space_in_order_without_overlap() -> None:
    wide, _ = window(1000, 10)
    chunks = wide.cut(slots=2, left=1000)
    covered = [index for _, ranges in chunks for index in indices_of(ranges)]
    assert covered == list(range(1000))
    assert len({name for name, _ in chunks}) == len(chunks)


def test_no_more_is_out_than_the_window_allows() -> None:
    wide, _ = window(10**6, 1)
    assert len(wide.cut(slots=1, left=10**6)) == wide.planner.window(1)
    assert wide.cut(slots=1, left=10**6) == []


def test_settling_makes_room_and_a_split_piece_counts_for_its_chunk() -> None:
    wide, missing = window(10**6, 100)
    chunks = wide.cut(slots=1, left=10**6)
    name, ((start, stop),) = chunks[0]
    wide.saw(header(f"{name}.0", ((start, start + 40),)))
    assert wide.out[name] == 60
    wide.saw(header(f"{name}.1.2", ((start + 40, stop),)))
    assert name not in wide.out
    missing.settled.update(range(start, stop))
    assert len(wide.cut(slots=1, left=10**6)) == 1


def test_what_a_checkpoint_left_counts_for_its_chunk() -> None:
    wide, _ = window(10**6, 100)
    name, ((start, stop),) = wide.cut(slots=1, left=10**6)[0]
    wide.saw(header(name, ((start, start + 40),)))
    wide.saw(header(f"{name}+1", ((start + 40, start + 90),)))
    wide.saw(header(f"{name}+2.a", ((start + 90, stop),)))
    assert name not in wide.out


def test_parameters_that_wait_for_a_retry_do_not_hold_up_the_window() -> None:
    wide, _ = window(10**6, 10)
    name, ((start, stop),) = wide.cut(slots=1, left=10**6)[0]
    wide.saw(header(name, ((start, stop - 3),), failed=3))
    assert name not in wide.out
    before = dict(wide.out)
    wide.saw(header(f"{name}.r", ((stop - 3, stop),), attempt=2))
    assert wide.out == before


def test_starting_over_submits_exactly_what_is_missing() -> None:
    wide, missing = window(100, 10)
    wide.cut(slots=1, left=100)
    missing.settled.update(range(50))
    wide.start_over()
    again = [index for _, ranges in wide.cut(slots=1, left=50) for index in indices_of(ranges)]
    assert again == list(range(50, 100))


def test_what_was_submitted_is_counted_and_named_in_order() -> None:
    wide, _ = window(25, 10)
    assert wide.submitted == 0
    assert [name for name, _ in wide.cut(slots=1, left=25)] == ["0", "1", "2"]
    assert wide.submitted == 25


def test_no_more_is_cut_than_is_left_for_nobody() -> None:
    wide, _ = window(10**6, 10)
    assert sum(stop - start for _, ((start, stop),) in wide.cut(slots=8, left=25)) in range(25, 35)


def test_a_last_parameter_that_is_out_keeps_its_chunk_out() -> None:
    wide, _ = window(10**6, 10)
    name, ((start, stop),) = wide.cut(slots=1, left=10**6)[0]
    wide.saw(header(name, ((start, stop - 1),)))
    assert wide.out[name] == 1


def test_a_retry_of_a_chunk_that_is_out_says_nothing_of_what_is_out() -> None:
    wide, _ = window(10**6, 10)
    name, ((start, stop),) = wide.cut(slots=1, left=10**6)[0]
    wide.saw(header(name, ((start, stop - 5),), failed=1))
    assert wide.out[name] == 4
    wide.saw(header(f"{name}.r", ((stop - 5, stop - 4),), attempt=2))
    assert wide.out[name] == 4


def test_starting_over_makes_room_for_all_that_the_window_allows() -> None:
    wide, _ = window(10**6, 1)
    wide.cut(slots=1, left=10**6)
    wide.start_over()
    assert wide.in_flight == 0
    assert len(wide.cut(slots=1, left=10**6)) == wide.planner.window(1)


def test_rows_are_cut_beside_the_loop_and_what_is_too_much_for_one_message_is_pieces_of_one_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = rows([{"i": i, "text": "x" * (1 << 20 if i % 3 else 10)} for i in range(30)])
    spec = RunSpec("r", FunctionRef("module", "m", "f"), space_to_json(space), len(space), space.names)
    broker: Any = Taking()
    monkeypatch.setattr(space, "encoded_columns", OffTheLoop(space.encoded_columns))
    collector: Any = SimpleNamespace(missing=None)

    async def submit() -> None:
        submission = Submission(
            spec, space, collector, broker, Backoff("c", lambda trouble: None), lambda: 1, Planner(spec.size)
        )
        await submission._submit_with_rows([("7", ((0, 12), (15, 30)))])

    asyncio.run(submit())
    tasks = broker.tasks
    assert [index for task in tasks for index in indices_of(task.ranges)] == [*range(12), *range(15, 30)]
    assert all(len(encode(task)) <= TASK_BYTES + 200 or task.count == 1 for task in tasks)
    found = [i for task in tasks for i in unpacked(task.rows, task.ranges)["i"]]
    assert found == [*range(12), *range(15, 30)]
    assert len(tasks) == len({task.id for task in tasks})
    assert {PIECE.split(task.id, maxsplit=1)[0] for task in tasks} == {"7"}


def test_what_was_settled_for_nothing_goes_first_and_nothing_else_goes_twice() -> None:
    view, _ = window(100, 10)
    first = [ranges for _, ranges in view.cut(1, 100)]
    view.saw(header("0", first[0]))
    view.again.append(first[0])
    again = [ranges for _, ranges in view.cut(1, 100 - view.in_flight)]
    assert again[0] == first[0]
    assert all(ranges[0][0] >= first[-1][-1][1] for ranges in again[1:])


def test_many_small_tasks_with_rows_go_together_and_large_ones_alone() -> None:
    space = rows([{"x": "y" * (300_000 if i < 10 else 1)} for i in range(500)])
    spec = RunSpec("r", FunctionRef("module", "m", "f"), space_to_json(space), len(space), space.names)
    broker: Any = Taking()
    collector: Any = SimpleNamespace(missing=None)

    async def submit() -> None:
        submission = Submission(
            spec, space, collector, broker, Backoff("c", lambda *_: None), lambda: 1, Planner(spec.size, 1)
        )
        await submission._submit_with_rows([(str(i), ((i, i + 1),)) for i in range(500)])

    asyncio.run(submit())
    assert [task.ranges for task in broker.tasks] == [((i, i + 1),) for i in range(500)]
    assert 3 <= broker.calls <= 10
