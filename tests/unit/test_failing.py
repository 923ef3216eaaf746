"""When failures end a run, and what is said of them while it goes on."""

from __future__ import annotations

import logging

import pytest

from ttg.errors import RunStopped
from ttg.messages import DeadLetter, Failure, ParametersFailed, ResultHeader
from ttg.run.config import CoordinatorConfig
from ttg.run.failing import Failing
from ttg.spec import FunctionRef, RunSpec

SPEC = RunSpec("r", FunctionRef("file", "sim.py", "f"), {}, 1_000, ("x",), identity="one")


def failure(error: str = "KeyError") -> Failure:
    return Failure(7, "exception", error, "x", "sim.py:3 (f)")


def failing(*errors: str, identity: str = "one", dead: int = 0, **options: int) -> Failing:
    watched = Failing(SPEC, CoordinatorConfig(**options), 0, dead)  # type: ignore[arg-type]
    for error in errors:
        about = {"run": "r", "identity": identity, "worker": "w", "count": 20, "dead": 0}
        watched.on_event(ParametersFailed(at=0.0, source="w", sample=failure(error), **about))
    return watched


def test_the_first_that_all_fail_alike_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    watched = failing("KeyError")
    for _ in range(3):
        watched.check(0, 0, 20, SPEC.size)
    assert [record.message.partition(" (the")[0] for record in caplog.records] == [
        "the first 20 parameters all failed alike: KeyError at sim.py:3 (f): x"
    ]


@pytest.mark.parametrize(
    ("watched", "done", "dead", "retrying"),
    [
        (failing("KeyError"), 1, 0, 20),
        (failing("KeyError"), 0, 0, 9),
        (failing("KeyError", "OSError"), 0, 0, 40),
        (failing("KeyError", identity="another"), 0, 0, 20),
        (failing("KeyError", dead=5, fail_fast=True), 0, 5, 3),
        (failing("KeyError", fail_fast=True), 0, 1_000, 0),
    ],
    ids=["one succeeded", "too few", "not alike", "another run's", "dead before", "nothing left to stop"],
)
def test_nothing_is_said_and_nothing_stopped(
    watched: Failing, done: int, dead: int, retrying: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watched.saw(ResultHeader("r", "c", (), 1, "w", 0, 0.0, 0.0))
    watched.check(done, dead, retrying, SPEC.size)
    assert not caplog.records


def test_the_commonest_cause_is_that_of_the_dead_letters_when_there_are_any() -> None:
    watched = failing("OSError", "OSError")
    assert watched.cause.startswith("OSError at")
    for number, errors in enumerate((["OSError"], ["KeyError", "KeyError"])):
        dead = tuple(DeadLetter("r", "sim.py:f", 7, {}, 4, failure(error), "w", 0.0) for error in errors)
        watched.saw(ResultHeader("r", f"c{number}", (), 1, "w", 0, 0.0, 0.0, dead=dead))
    assert watched.cause.startswith("KeyError at")


def test_fail_fast_stops_at_the_first_that_is_final_or_when_all_fail_alike() -> None:
    with pytest.raises(RunStopped, match="the first 20 parameters all failed alike: KeyError"):
        failing("KeyError", fail_fast=True).check(0, 0, 20, SPEC.size)

    watched = failing(fail_fast=True)
    letter = DeadLetter("r", "sim.py:f", 7, {}, 4, failure(), "w", 0.0)
    watched.saw(ResultHeader("r", "c", (), 1, "w", 0, 0.0, 0.0, dead=(letter,)))
    with pytest.raises(RunStopped, match=r"parameter 7 failed for good.*KeyError at sim.py:3"):
        watched.check(500, 1, 0, SPEC.size)
