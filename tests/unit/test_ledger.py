"""The ledger against a model made of plain sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from ttg.errors import StorageError
from ttg.messages import indices_of, ranges_of
from ttg.results.ledger import Ledger, bitmap_from_text, bitmap_to_text

SIZE = 60
indices = st.integers(0, SIZE - 1)
steps = st.lists(
    st.tuples(st.just("rows"), st.sets(indices, min_size=1))
    | st.tuples(st.just("dead"), indices)
    | st.tuples(st.just("retry_dead"), st.sets(indices)),
    max_size=20,
)


@given(steps, st.integers(0, SIZE), st.integers(1, SIZE))
def test_agrees_with_sets(history: list[tuple[str, object]], start: int, limit: int) -> None:
    ledger = Ledger(SIZE)
    done: set[int] = set()
    dead: set[int] = set()
    for step, what in history:
        if step == "rows":
            new = ledger.settle_rows(ranges_of(sorted(what)))  # type: ignore[call-overload]
            assert set(indices_of(new)) == what - done  # type: ignore[operator]
            done |= what  # type: ignore[operator]
            dead -= what  # type: ignore[operator]
        elif step == "dead":
            assert ledger.settle_dead(what) is (what not in done | dead)  # type: ignore[arg-type]
            dead |= {what} - done  # type: ignore[arg-type]
        else:
            assert ledger.retry_dead(what) == len(dead & what)  # type: ignore[arg-type, operator]
            dead -= what  # type: ignore[operator]
        ledger.check()
    missing = sorted(set(range(SIZE)) - done - dead)
    assert (ledger.done_count, ledger.dead_count, ledger.missing_count) == (len(done), len(dead), len(missing))
    assert ledger.missing() == ranges_of(missing)
    assert ledger.missing(start, limit) == ranges_of([index for index in missing if index >= start][:limit])
    assert ledger.complete is (not missing)


def test_missing_of_a_huge_run_is_instant_and_exact() -> None:
    ledger = Ledger(10**12)
    assert ledger.missing(limit=5) == ((0, 5),)
    ledger.settle_rows(((0, 10**6), (10**6 + 7, 3 * 10**6), (10**11, 10**11 + 1)))
    ledger.settle_dead(10**6 + 3)
    assert ledger.missing(limit=8) == ((10**6, 10**6 + 3), (10**6 + 4, 10**6 + 7), (3 * 10**6, 3 * 10**6 + 2))
    assert ledger.missing()[-2:] == ((3 * 10**6, 10**11), (10**11 + 1, 10**12))


def test_ten_thousand_chunks_stay_small() -> None:
    ledger = Ledger(10**9)
    for start in range(0, 10**9, 10**5):
        ledger.settle_rows(((start, start + 10**5),))
    assert ledger.complete
    assert len(bitmap_to_text(ledger.done())) < 500_000


def test_what_was_dead_and_done_on_disk_is_done() -> None:
    ledger = Ledger(10, done=BitMap64([1, 2]), dead=BitMap64([2, 3]))
    assert (ledger.done_count, ledger.dead_count) == (2, 1)
    assert 2 in ledger.done()
    assert 2 not in ledger.dead()
    assert 3 in ledger.dead()


def test_a_copy_is_independent() -> None:
    ledger = Ledger(10)
    copy = ledger.copy()
    copy.settle_rows(((0, 10),))
    assert copy.complete
    assert ledger.done_count == 0


@given(st.sets(st.integers(0, 2**40)))
def test_a_bitmap_survives_as_text(members: set[int]) -> None:
    assert set(bitmap_from_text(bitmap_to_text(BitMap64(members)))) == members


@pytest.mark.parametrize("text", ["", "!", "AAAA", b"\xff"])
def test_text_that_is_no_bitmap(text: str | bytes) -> None:
    with pytest.raises(StorageError, match="bitmap"):
        bitmap_from_text(text)
