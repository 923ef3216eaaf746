"""Statistics of a column: up to the borders of 64 bit, and merging parts is describing the whole."""

from __future__ import annotations

from math import inf, isnan, nan

import pyarrow as pa
import pytest

from ttg.results.statistics import ColumnStatistics, describe, from_text, merge_all, to_text

BORDER = 1 << 62

COLUMNS = {
    "integers": ([3, -1, 2], (3, 0, 4, -1, 3)),
    "with nulls": ([3, None, 2], (2, 1, 5, 2, 3)),
    "floats": ([0.5, 2.0], (2, 0, 2.5, 0.5, 2.0)),
    "floats with nulls": ([0.5, None, -2.0], (2, 1, -1.5, -2.0, 0.5)),
    "texts": (["a", None], (1, 1, None, None, None)),
    "truths": ([True, False], (2, 0, None, None, None)),
    "nothing": ([], (0, 0, None, None, None)),
}


@pytest.mark.parametrize(("values", "expected"), COLUMNS.values(), ids=COLUMNS)
def test_a_column(values: list[object], expected: tuple[object, ...]) -> None:
    assert describe(pa.array(values)) == ColumnStatistics(*expected)


def test_nothing_but_nulls() -> None:
    assert describe(pa.array([None, None], pa.int64())) == ColumnStatistics(0, 2)


@pytest.mark.parametrize("null", [[], [None]], ids=["NumPy", "Arrow"])
@pytest.mark.parametrize(
    ("values", "kind"),
    [([BORDER, BORDER], float), ([-BORDER, -BORDER], float), ([BORDER - 1, BORDER - 1], int), ([1, -BORDER], float)],
    ids=["too wide", "too wide below", "just fits", "the lowest counts"],
)
def test_a_sum_that_might_overflow_is_a_float(values: list[int], kind: type, null: list[None]) -> None:
    found = describe(pa.array([*values, *null]))
    assert found.sum == pytest.approx(sum(values), rel=1e-15)
    assert type(found.sum) is kind
    assert (found.min, found.max) == (min(values), max(values))


def test_extremes_pass_over_what_is_not_a_number_and_the_sum_does_not() -> None:
    found = describe(pa.array([nan, 1.0, 3.0]))
    assert (found.count, found.min, found.max) == (3, 1.0, 3.0)
    assert found.sum is not None
    assert isnan(found.sum)


@pytest.mark.parametrize("cut", range(5))
def test_merging_parts_is_describing_the_whole(cut: int) -> None:
    values = pa.array([4, None, -7, 2], pa.int64())
    parts = [{"x": describe(part)} for part in (values[:cut], values[cut:])]
    assert merge_all(parts) == {"x": describe(values)}


def test_parts_may_have_different_columns() -> None:
    one, two = ColumnStatistics(1, 0, 2, 2, 2), ColumnStatistics(2, 1)
    assert merge_all([{"x": one}, {"y": two}, {"x": two}]) == {"x": ColumnStatistics(3, 1, 2, 2, 2), "y": two}


def test_as_json_has_the_mean_and_no_infinities() -> None:
    assert ColumnStatistics(4, 1, 6, 0, 3).as_json() == {
        "count": 4, "nulls": 1, "sum": 6, "min": 0, "max": 3, "mean": 1.5,
    }  # fmt: skip
    assert ColumnStatistics(1, 0, inf, 1.0, inf).as_json() == {
        "count": 1, "nulls": 0, "sum": None, "min": 1.0, "max": None, "mean": None,
    }  # fmt: skip
    assert ColumnStatistics(0, 2).as_json() == {"count": 0, "nulls": 2}


def test_the_footer_keeps_infinities() -> None:
    written = {"x": ColumnStatistics(2, 0, inf, -inf, inf), "y": ColumnStatistics(1, 3)}
    assert from_text(to_text(written)) == written
