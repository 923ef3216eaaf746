"""A worker's life with real children: drains, cancelled runs, refusals, lost leases, dying children."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.process.crash_workloads import CULPRIT
from tests.process.worker_stage import Stage, spec_for
from tests.waiting import eventually

from ttg.brokers.memory.server import Fate
from ttg.clock import loop_time
from ttg.function import function_from_text
from ttg.messages import (
    FunctionLoading,
    FunctionRefused,
    MessageQuarantined,
    RunStatus,
    Task,
    TasksSettled,
    WorkerHeartbeat,
    WorkerStopped,
    indices_of,
)
from ttg.spec import FunctionRef, Limits
from ttg.worker.assignments import MAX_ASSIGNMENTS
from ttg.worker.leases import State


async def test_a_run_from_start_to_end_and_its_summary(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(spec_for("fine", 5_000))

    with caplog.at_level("INFO", "ttg.worker"):
        settled, summary = await stage.run_to_end(slots=2)

    assert settled.values == {i: i * i for i in range(5_000)}
    parsed = json.loads(summary.to_json())
    assert parsed["parameters_processed"] == 5_000
    assert parsed["status"] == "drained"
    assert parsed["exit_code"] == 75
    kinds = {type(event) for event in await stage.events()}
    assert {TasksSettled, WorkerHeartbeat, WorkerStopped} <= kinds
    connected, joined, *_ = caplog.messages
    assert connected.startswith("connected to memory://stage, namespace ttg: 2 slots for ")
    assert joined == f"run {stage.spec.run} joined: {stage.spec.function}, 5,000 parameters"


async def test_tasks_of_one_parameter_are_queued_ahead_of_the_child() -> None:
    stage = Stage(spec_for("fine", 3_000))
    await stage.open([Task(stage.spec.run, f"c{i}", ((i, i + 1),)) for i in range(3_000)])
    worker = stage.worker()
    working = asyncio.create_task(worker.run())
    settled = await stage.read_until_settled()
    worker.request_stop()
    await working

    assert set(settled.times.values()) == {1}
    batches = [len(data["batch"]) for moment, data in stage.moments if moment == "after_settle"]
    assert max(batches) > 10, "several are settled at once"


async def test_a_drain_settles_what_is_done_and_charges_nobody() -> None:
    stage = Stage(spec_for("slow", 200))
    await stage.open()
    first = stage.worker("first", grace_seconds=5.0)
    working = asyncio.create_task(first.run())
    await stage.moment("announced", 4)
    first.request_stop()
    summary = await working

    await stage.read_some()
    assert 0 < stage.settled.count < 200
    assert summary.parameters_processed == stage.settled.count

    second = stage.worker("second")
    working = asyncio.create_task(second.run())
    leased = await stage.moment("leased", 2)
    second.request_stop()
    await working
    task = leased["delivery"].task
    assert (task.attempt, task.bisect_depth, task.count) == (1, 0, 200 - summary.parameters_processed)


async def test_a_child_that_does_not_answer_is_killed_after_the_grace_and_nobody_is_blamed() -> None:
    stage = Stage(spec_for("endless_after_first", 3))
    await stage.open([Task("run", "c1", ((1, 3),))])
    worker = stage.worker(grace_seconds=0.2)
    working = asyncio.create_task(worker.run())
    await stage.moment("announced")
    worker.request_stop()
    summary = await working

    assert (summary.children_died, summary.parameters_failed) == (0, 0)
    (delivery,) = await stage.broker.lease(5, 0.0)
    assert (delivery.task.ranges, delivery.task.attempt, delivery.task.bisect_depth) == (((1, 3),), 1, 0)
    assert delivery.deliveries == 1


async def test_a_second_request_stops_at_once() -> None:
    stage = Stage(spec_for("endless_after_first", 3))
    await stage.open([Task("run", "c1", ((1, 3),))])
    worker = stage.worker(grace_seconds=1_000.0)
    working = asyncio.create_task(worker.run())
    await stage.moment("announced")
    worker.request_stop()
    worker.request_stop()
    await asyncio.wait_for(working, 20)

    (delivery,) = await stage.broker.lease(5, 5.0)
    assert delivery.task.ranges == ((1, 3),)


async def test_a_cancelled_run_is_left_at_once_and_its_tasks_vanish() -> None:
    stage = Stage(spec_for("endless_after_first", 10))
    await stage.open([Task("run", f"c{i}", ((i, i + 1),)) for i in range(1, 10)])
    worker = stage.worker(exit_when_idle_seconds=0.3)
    working = asyncio.create_task(worker.run())
    await stage.moment("assigned")
    await stage.publish(RunStatus.CANCELLED)
    summary = await asyncio.wait_for(working, 20)

    assert summary.status == "idle"
    assert summary.parameters_processed == 0
    assert (await stage.broker.stats()).queue("tasks").messages == 0


async def test_it_ends_when_its_run_is_finished() -> None:
    stage = Stage(spec_for("fine", 10))
    await stage.open()
    working = asyncio.create_task(stage.worker(until_run_done="run").run())
    await stage.read_until_settled()
    await stage.publish(RunStatus.FINISHED)
    summary = await working
    assert (summary.status, summary.exit_code) == ("finished", 0)


async def refusals(stage: Stage, **config: Any) -> list[FunctionRefused]:
    """What a worker says that refuses the stage's run; its task must stay in the queue, uncharged."""
    await stage.open()
    worker = stage.worker(**config)
    working = asyncio.create_task(worker.run())
    found: list[FunctionRefused] = []
    while not found:
        found = [event for event in await stage.events() if isinstance(event, FunctionRefused)]
        await asyncio.wait_for(stage.broker.read_events("$", 1, 1.0), 30)
    worker.request_stop()
    await working
    (delivery,) = await stage.broker.lease(5, 1.0)
    assert delivery.task.attempt == 1
    assert list(indices_of(delivery.task.ranges)) == list(range(stage.spec.size))
    return found


async def test_a_worker_that_has_nothing_to_do_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(spec_for("fine", 5))
    with caplog.at_level("INFO", "ttg.worker"):
        await stage.worker(exit_when_idle_seconds=3.0, allow=("other.py:f",)).run()
    assert [text for text in caplog.messages if "waiting" in text] == ["waiting for tasks: no run has any"]
    assert caplog.messages[0].endswith(": 1 slot for other.py:f")
    assert caplog.messages[-1].startswith("stopping (idle)")


async def test_a_target_that_was_not_allowed_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    (event, *_) = await refusals(Stage(spec_for("fine", 5)), allow=("other.py:f",))
    assert len([text for text in caplog.messages if "refused: this worker was not started for" in text]) == 1
    assert "was not started for" in event.text
    assert not event.lasting


async def test_a_target_that_does_not_load_is_refused() -> None:
    spec = msgspec.structs.replace(
        spec_for("fine", 5), function=FunctionRef("file", str(Path(__file__)), "no_such_function")
    )
    (event, *_) = await refusals(Stage(spec))
    assert "no_such_function" in event.text
    assert event.lasting


async def test_a_module_that_ends_the_process_on_import_is_refused(tmp_path: Path) -> None:
    module = tmp_path / "deadly.py"
    module.write_text("import os\nos._exit(9)\ndef f(i): return i\n", encoding="utf-8")
    spec = msgspec.structs.replace(spec_for("fine", 5), function=FunctionRef("file", str(module), "f"))
    (event, *_) = await refusals(Stage(spec))
    assert "exit code 9" in event.text


async def test_a_task_of_an_unknown_run_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttg.worker.supervisor.BEAT_SECONDS", 0.02)
    stage = Stage(spec_for("fine", 5))
    await stage.open([Task("nobody", "c1", ((0, 5),))])
    worker = stage.worker()
    working = asyncio.create_task(worker.run())
    await stage.moment("after_settle")
    worker.request_stop()
    await working

    assert (await stage.broker.stats()).queue("tasks").messages == 0
    assert any(isinstance(event, MessageQuarantined) and "nobody" in event.reason for event in await stage.events())


async def test_a_child_killed_from_outside_loses_nothing() -> None:
    stage = Stage(spec_for("slow", 60))
    await stage.open()
    worker = stage.worker()
    working = asyncio.create_task(worker.run())
    reading = asyncio.create_task(stage.read_until_settled())
    for count in (5, 20, 40):
        slot = (await stage.moment("announced", count))["slot"]
        if slot.child:
            os.kill(slot.child.pid, signal.SIGKILL)
    settled = await reading
    worker.request_stop()
    summary = await working

    assert settled.values == {i: i * i for i in range(60)}
    assert set(settled.times.values()) == {1}
    assert summary.children_died == 3


async def test_what_was_lost_to_another_worker_is_dropped() -> None:
    stage = Stage(spec_for("slow", 20))
    await stage.open()
    worker = stage.worker()
    working = asyncio.create_task(worker.run())
    delivery = (await stage.moment("leased"))["delivery"]
    stage.server.namespace(stage.config.namespace).tasks[delivery.token[0]].owner = "somebody else"
    await stage.moment("lost")
    worker.request_stop()
    summary = await working
    assert summary.parameters_processed == 0


async def test_the_end_of_the_parent_pipe_drains_it() -> None:
    stage = Stage(spec_for("slow", 100))
    await stage.open()
    theirs, ours = os.pipe()
    working = asyncio.create_task(stage.worker(parent_pipe_fd=theirs).run())
    await stage.moment("announced", 2)
    os.close(ours)
    summary = await asyncio.wait_for(working, 20)
    os.close(theirs)
    assert summary.status == "drained"


async def test_it_waits_out_a_broker_that_is_down() -> None:
    stage = Stage(spec_for("slow", 40, limits=Limits(checkpoint_seconds=0.2)))
    await stage.open()
    worker = stage.worker()
    working = asyncio.create_task(worker.run())
    await stage.moment("assigned", 2)
    stage.server.down = True
    await stage.moment("before_settle", 2)
    stage.server.down = False
    settled = await stage.read_until_settled()
    worker.request_stop()
    await working
    assert settled.values == {i: i * i for i in range(40)}


async def test_the_innocent_are_executed_by_few_and_the_culprit_by_none_but_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much is repeated for a culprit that takes the child down: bounded, and nobody else is charged."""
    calls = tmp_path / "calls"
    monkeypatch.setenv("CALLS", str(calls))
    stage = Stage(spec_for("notes_each_call", 100))
    settled, _ = await stage.run_to_end()

    counts = [calls.read_text(encoding="ascii").split().count(str(i)) for i in range(100)]
    assert settled.dead.keys() == {CULPRIT}
    assert counts[CULPRIT] <= 4, "at most: unnoticed in a slice, then once per attempt, each in its own piece"
    assert max(counts) <= 4


async def test_a_draining_worker_leases_nothing_and_starts_no_child() -> None:
    stage = Stage(spec_for("endless_after_first", 20))
    await stage.open([Task("run", f"c{i}", ((i, i + 2),)) for i in range(1, 19, 2)])
    worker = stage.worker(slots=2, grace_seconds=1.0)
    working = asyncio.create_task(worker.run())
    await stage.moment("child_ready", 2)
    child = (await stage.moment("announced"))["slot"].child
    worker.request_stop()
    await stage.moment("draining")
    before = len(stage.moments)
    os.kill(child.pid, signal.SIGKILL)
    summary = await working

    later = [moment for moment, _ in stage.moments[before:]]
    assert later.count("child_gone") == 2
    assert not {"child_ready", "leased", "assigned"}.intersection(later)
    assert summary.children_died == 1
    assert (await stage.broker.stats()).queue("tasks").unacknowledged == 0


async def test_while_nothing_can_be_settled_a_worker_does_not_go_on_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 20
    monkeypatch.setattr("ttg.worker.leases.MAX_UNSETTLED", most)
    stage = Stage(spec_for("fine", 3_000))
    await stage.open([Task(stage.spec.run, f"c{i}", ((i, i + 1),)) for i in range(3_000)])
    full = True
    stage.server.fate = lambda consumer, verb: Fate.FULL if full and verb == "settle" else Fate.DONE
    worker = stage.worker()
    working = asyncio.create_task(worker.run())
    await stage.moment("reported", most)

    async def executing() -> list[Any]:
        return worker.leases.in_state(State.PENDING, State.QUEUED, State.RUNNING)

    await eventually(executing, lambda leases: not leases)
    assert most <= len(worker.leases.in_state(State.COMPLETING)) < most + MAX_ASSIGNMENTS
    assert worker.leases.room(loop_time()) == 0
    full = False
    settled = await stage.read_until_settled()
    worker.request_stop()
    await working
    assert set(settled.times.values()) == {1}


async def test_an_import_that_does_not_end_is_named_and_refused() -> None:
    spec = spec_for("fine", 2, limits=Limits(load_seconds=2.0))
    hanging = Path(__file__).with_name("hanging_workloads.py")
    stage = Stage(msgspec.structs.replace(spec, function=function_from_text(f"{hanging}:value", ("i",))))
    (refused,) = await refusals(stage)
    place = f"{hanging}:9 (wait_for_a_licence)"
    assert refused.text == f"loading {stage.spec.loaded} took longer than 2 s (--load-timeout), at {place}"
    told = [event.text for event in await stage.events() if isinstance(event, FunctionLoading)]
    assert told == [f"loading {stage.spec.function} takes more than 1 s: it is at {place}"]
