"""Values at their borders: what is just right is read, what is just not is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ttg import units
from ttg.units import Share, bound, indices, limited, run_id, seconds, whole_number

READ = [
    (lambda: bound("5%").of(1000), 50),  # type: ignore[union-attr]
    (lambda: bound("0.5%").of(10), 0),  # type: ignore[union-attr]
    (lambda: bound("100%"), Share(100.0)),
    (lambda: bound(0), 0),
    (lambda: whole_number("3", 3, 3), 3),
    (lambda: limited(seconds, "1s", "2s", "1s"), 1.0),
    (lambda: limited(seconds, "1s", "2s", "2s"), 2.0),
    (lambda: run_id("r" * 100), "r" * 100),
    (lambda: run_id("_a.b-1"), "_a.b-1"),
    (lambda: indices([0, 7]), (0, 7)),
]

REFUSED = [
    (lambda: bound("101%"), "at most 100%"),
    (lambda: bound(-1), "got -1"),
    (lambda: whole_number("2", least=3), "at least 3, got 2"),
    (lambda: whole_number(1001, most=1000), "at most 1,000, got 1001"),
    (lambda: whole_number(True), "whole number, got True"),
    (lambda: whole_number(1.5), "whole number, got 1.5"),
    (lambda: limited(seconds, "1s", "", "0.5s"), "at least 1s"),
    (lambda: limited(seconds, "", "2s", "3s"), "at most 2s"),
    (lambda: run_id("r" * 101), "up to 100 letters"),
    (lambda: run_id("-r"), "up to 100 letters"),
    (lambda: run_id("a/b"), "up to 100 letters"),
    (lambda: run_id(7), "up to 100 letters"),
    (lambda: run_id("last"), "the run before"),
    (lambda: indices([-1]), "at least 0"),
    (lambda: units.truth(1), "True or False"),
    (lambda: units.text(""), "expected text"),
]


@pytest.mark.parametrize(("read", "expected"), READ)
def test_what_is_just_right(read: Callable[[], Any], expected: object) -> None:
    assert read() == expected


@pytest.mark.parametrize(("read", "said"), REFUSED)
def test_what_is_just_not(read: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read()
