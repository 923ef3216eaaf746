"""When workers refuse a run: each for itself, until nobody is left who could."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from ttg.errors import FunctionError
from ttg.messages import FunctionRefused
from ttg.run.refusing_workers import RefusingWorkers


def refusal(worker: str, text: str = "no module named x", lasting: bool = True, of: str = "abc") -> FunctionRefused:
    return FunctionRefused(at=0.0, source=worker, worker=worker, run="r", identity=of, text=text, lasting=lasting)


def refused_by(*events: FunctionRefused) -> RefusingWorkers:
    refusals = RefusingWorkers("abc", patience_seconds=3.0)
    for event in events:
        refusals.on_event(event)
    return refusals


def test_a_reason_is_news_once(caplog: pytest.LogCaptureFixture) -> None:
    refused_by(refusal("a"), refusal("a"), refusal("b"), refusal("a", "something else"), refusal("c", "other", of="x"))
    said = ["a does not work on this run: no module named x", "a does not work on this run: something else"]
    assert caplog.messages == [f"worker {text}" for text in said]


@pytest.mark.parametrize(
    ("there", "lasting", "left", "final"),
    [
        ({"a", "b", "good"}, (True, True), False, False),
        ({"a", "b"}, (True, True), True, True),
        ({"a", "b"}, (True, False), True, True),
        ({"a", "b"}, (False, False), True, False),
        (set(), (True, True), False, False),
    ],
)
def test_nobody_is_left(there: set[str], lasting: tuple[bool, bool], left: bool, final: bool) -> None:
    refusals = refused_by(*(refusal(worker, lasting=tried) for worker, tried in zip("ab", lasting, strict=True)))
    refusals.check(there, 10.0)
    assert bool(refusals.note) == left
    with pytest.raises(FunctionError, match="no module named x") if final else nullcontext():
        refusals.check(there, 13.0)


def test_a_worker_that_comes_in_time_begins_the_wait_anew() -> None:
    refusals = refused_by(refusal("bad"))
    for now, there in ((0.0, {"bad"}), (2.0, {"bad", "new"}), (4.0, {"bad"}), (6.0, {"bad"})):
        refusals.check(there, now)
    with pytest.raises(FunctionError):
        refusals.check({"bad"}, 7.0)


def test_where_all_are_known_the_first_refusal_of_all_is_the_end() -> None:
    refusals = RefusingWorkers("abc", patience_seconds=0.0)
    refusals.on_event(refusal("own"))
    with pytest.raises(FunctionError):
        refusals.check({"own"}, 0.0)


def test_a_traceback_is_told_at_the_end_and_not_in_the_progress() -> None:
    refusals = refused_by(refusal("a", "the setup failed\nTraceback: …"))
    refusals.check({"a"}, 0.0)
    assert refusals.note == "the setup failed"
    with pytest.raises(FunctionError, match="the setup failed\nTraceback"):
        refusals.check({"a"}, 3.0)
