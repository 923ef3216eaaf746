"""The ledger looks at its bitmaps in windows of 2^16: nothing may depend on where one of them ends."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg.messages import ranges_of
from ttg.results.ledger import Ledger

WINDOW = 1 << 16
SIZE = 5 * WINDOW + 100
near_a_boundary = st.builds(lambda window, off: window * WINDOW + off, st.integers(0, 5), st.integers(-3, 3)).filter(
    lambda index: 0 <= index < SIZE
)


def holes(settled: set[int], start: int, size: int = SIZE) -> list[tuple[int, int]]:
    """What is missing, from the settled indices alone."""
    edges = [start - 1, *sorted(index for index in settled if index >= start), size]
    return [(left + 1, right) for left, right in itertools.pairwise(edges) if right - left > 1]


@pytest.mark.parametrize("kind", ["dead", "done"])
@pytest.mark.parametrize("index", [WINDOW - 1, WINDOW, WINDOW + 5, 3 * WINDOW, SIZE - 1])
def test_one_settled_index_far_from_the_start_is_not_missing(index: int, kind: str) -> None:
    ledger = Ledger(SIZE)
    ledger.settle_dead(index) if kind == "dead" else ledger.settle_rows(((index, index + 1),))
    assert _joined(ledger.missing()) == holes({index}, 0)
    assert _joined(ledger.missing(index)) == holes({index}, index)


@given(st.sets(near_a_boundary, max_size=6), st.sets(near_a_boundary, max_size=6), near_a_boundary)
def test_missing_agrees_with_a_set_at_every_boundary(done: set[int], dead: set[int], start: int) -> None:
    ledger = Ledger(SIZE)
    ledger.settle_rows(ranges_of(sorted(done)))
    for index in dead:
        ledger.settle_dead(index)
    assert _joined(ledger.missing(start)) == holes(done | dead, start)


@given(st.sets(near_a_boundary, max_size=6), near_a_boundary, st.integers(1, 2 * WINDOW))
def test_a_limit_cuts_the_same_indices_short(dead: set[int], start: int, limit: int) -> None:
    ledger = Ledger(SIZE)
    for index in dead:
        ledger.settle_dead(index)
    assert _joined(ledger.missing(start, limit)) == _first(holes(dead, start), limit)


def _first(ranges: list[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """The first so many indices of ``ranges``."""
    kept = []
    for start, stop in ranges:
        if limit > 0:
            kept.append((start, min(stop, start + limit)))
            limit -= stop - start
    return kept


def _joined(ranges: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """Neighbours that touch are one hole."""
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
