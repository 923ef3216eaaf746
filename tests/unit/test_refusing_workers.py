"""When workers refuse a run: each for itself, until nobody is left who could."""

from __future__ import annotations

import pytest

from ttg.messages import FunctionRefused
from ttg.run.refusing_workers import RefusingWorkers


def refusal(worker: str, text: str = "no module named x", lasting: bool = True) -> FunctionRefused:
    return FunctionRefused(at=0.0, source=worker, worker=worker, run="r", text=text, lasting=lasting)


def test_a_reason_is_news_once() -> None:
    refusals = RefusingWorkers()
    assert [refusals.saw(refusal(worker)) for worker in ("a", "a", "b")] == [True, False, False]
    assert refusals.saw(refusal("a", "something else"))


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
    refusals = RefusingWorkers()
    for worker, tried in zip("ab", lasting, strict=True):
        refusals.saw(refusal(worker, lasting=tried))
    found = refusals.nobody_left(there)
    assert (found is not None) == left
    assert not refusals.is_final(found, 10.0, 3.0)
    assert refusals.is_final(found, 13.0, 3.0) == final


def test_a_worker_that_comes_in_time_begins_the_wait_anew() -> None:
    refusals = RefusingWorkers()
    refusals.saw(refusal("bad"))
    for now, there in ((0.0, {"bad"}), (2.0, {"bad", "new"}), (4.0, {"bad"})):
        assert not refusals.is_final(refusals.nobody_left(there), now, 3.0)
    assert refusals.is_final(refusals.nobody_left({"bad"}), 7.0, 3.0)
