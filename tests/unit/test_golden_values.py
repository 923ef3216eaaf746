"""Values that must never change: a run that is resumed or repeated with a later version draws the same numbers."""

from __future__ import annotations

import pytest

from ttg.seeds import rngs, seed_for, seeds, wide_seed_for
from ttg.space import choice, loguniform, normal, sample, uniform


@pytest.mark.parametrize(
    ("run_seed", "index", "wide", "seed"),
    [
        (0, 0, True, 6017775124710473527),
        (0, 1, True, 6467540162864785327),
        (1, 0, True, 3395948882924712079),
        (5, 7, True, 6340739842237366186),
        (2**63 - 1, 10**9, True, 8876530428030760829),
        (-1, 3, True, 8549713813811047642),
        (0, 0, False, 524967402),
        (0, 1, False, 690863986),
        (1, 0, False, 633948041),
        (5, 7, False, 790174163),
        (2**63 - 1, 10**9, False, 986887954),
        (-1, 3, False, 1471459145),
        (5, 2**31 + 7, False, 194629590),
    ],
)
def test_the_seed_of_a_parameter(run_seed: int, index: int, wide: bool, seed: int) -> None:
    assert (wide_seed_for if wide else seed_for)(run_seed, index) == seed
    one, many = (seeds(run_seed, index, index + count, wide=wide) for count in (1, 100))
    assert one == many[:1] == [seed]


def test_the_generator_of_a_parameter() -> None:
    assert rngs(1, 2, 3)[0].random() == 0.015614462849527277


@pytest.mark.parametrize(
    ("method", "row"),
    [
        ("random", {"x": 0.026652050140276384, "n": 1.3213856590022153, "g": 51.97319887270362, "c": "a"}),
        ("lhs", {"x": 0.19392418224933727, "n": 0.9385344306136533, "g": 24.438539832415735, "c": "c"}),
        ("sobol", {"x": 0.8543206806061789, "n": -0.19386233932603872, "g": 18.64763026751558, "c": "c"}),
    ],
)
def test_a_point_of_a_sample(method: str, row: dict[str, object]) -> None:
    space = sample(1000, method, 7, x=uniform(0, 1), n=normal(0, 1), g=loguniform(1, 100), c=choice("a", "b", "c"))
    drawn = space[123]
    assert drawn.pop("c") == row.pop("c")
    assert drawn == pytest.approx(row, rel=1e-12)
