"""The crash table: each way for user code to end badly, what is told about it, and that nobody else is harmed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import pytest
from tests.process.crash_workloads import CULPRIT
from tests.process.worker_stage import Stage, spec_for

from ttg.messages import ChildDied
from ttg.spec import Limits

SIZE = 40
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Crash:
    """A way to end badly: the dead letter's kind and error, a part of its message, and how it shows."""

    function: str
    kind: str
    error: str
    message: str
    kills_the_child: bool = True
    told: str = ""
    exit_code: int | None = None
    limits: Limits = field(default_factory=Limits)


CRASHES = [
    Crash("raises", "exception", "ZeroDivisionError", "by hand", False, "in raises"),
    Crash("raises_stop_iteration", "exception", "StopIteration", "", False),
    Crash("exits", "exit", "SystemExit", "enough", False, "in exits", 1),
    Crash("interrupts", "exception", "KeyboardInterrupt", "", False, "in interrupts"),
    Crash("returns_a_lock", "encoding", "UnencodableResult", "lock", False),
    Crash("wants_too_much", "memory", "MemoryError", "", False, "in wants_too_much"),
    Crash("exits_at_once", "exit", "ProcessExit", "exit code 3", True, "last words", 3),
    Crash("segfaults", "signal", "ProcessKilled", "SIGSEGV", True, "in segfaults", -11),
    Crash("kills_itself", "signal", "ProcessKilled", "SIGKILL", True, "", -9),
    Crash("loops_for_ever", "timeout", "Timeout", "limit of 0.3 s", limits=Limits(timeout_seconds=0.3)),
    Crash("eats_memory", "memory", "MemoryLimit", "more than the limit", limits=Limits(memory_bytes=300 * MEBIBYTE)),
    Crash("closes_every_descriptor", "exit", "ProcessExit", ""),
    Crash("forks_and_lingers_then_dies", "exit", "ProcessExit", "exit code 4", True, "", 4),
]


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.function)
async def test_only_the_culprit_is_charged(crash: Crash) -> None:
    stage = Stage(spec_for(crash.function, SIZE, limits=crash.limits))

    settled, summary = await stage.run_to_end()

    assert settled.values == {i: i * i for i in range(SIZE) if i != CULPRIT}
    assert set(settled.times.values()) == {1}, "each parameter is settled exactly once"
    assert list(settled.dead) == [CULPRIT]
    letter = settled.dead[CULPRIT]
    assert letter.attempts == (1 if crash.kind == "encoding" else 2)
    assert letter.parameters == {"i": CULPRIT}
    failure = letter.failure
    assert (failure.kind, failure.error) == (crash.kind, crash.error)
    assert crash.message in failure.message
    assert crash.told in failure.traceback + failure.output
    assert failure.exit_code == crash.exit_code or crash.exit_code is None
    assert failure.place or not crash.exit_code, "by it causes are told apart"
    assert (summary.children_died > 0) == crash.kills_the_child
    deaths = [event for event in await stage.events() if isinstance(event, ChildDied)]
    assert len(deaths) == summary.children_died


async def test_a_failure_has_what_its_own_call_printed_in_whatever_way(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ttg.worker.output")
    stage = Stage(spec_for("prints_and_raises", SIZE))

    settled, _ = await stage.run_to_end()

    ways = ("print", "stderr", "buffer", "descriptor", "program", "C", "no end")
    assert settled.dead[CULPRIT].failure.output == "\n".join(f"{way} {CULPRIT}" for way in ways)
    said = {record.getMessage() for record in caplog.records}
    assert {f"slot 0 run[{i}]: {way} {i}" for i in range(SIZE) for way in ways} <= said


async def test_a_call_that_closes_its_output_takes_nothing_from_the_next() -> None:
    settled, _ = await Stage(spec_for("closes_its_output", 2 * CULPRIT)).run_to_end()
    assert settled.dead[CULPRIT].failure.output.endswith(f"raw {CULPRIT}")


async def test_a_crash_has_a_place_in_the_users_code_and_the_output_of_its_call() -> None:
    settled, _ = await Stage(spec_for("prints_and_segfaults", SIZE)).run_to_end()

    failure = settled.dead[CULPRIT].failure
    assert failure.place.endswith("(prints_and_segfaults)")
    assert failure.output == f"before the crash {CULPRIT}"
    assert "Fatal Python error" in failure.traceback
    assert "_call_" not in failure.traceback
