"""Values that must never change: a run that is resumed or repeated with a later version draws the same numbers."""

from __future__ import annotations

import pytest

from ttg.seeds import rng_for, seed_for, seeds
from ttg.space import choice, loguniform, normal, sample, uniform


@pytest.mark.parametrize(
    ("run_seed", "index", "seed"),
    [
        (0, 0, 6017775124710473527),
        (0, 1, 6467540162864785327),
        (1, 0, 3395948882924712079),
        (5, 7, 6340739842237366186),
        (2**63 - 1, 10**9, 8876530428030760829),
        (-1, 3, 8549713813811047642),
    ],
)
def test_the_seed_of_a_parameter(run_seed: int, index: int, seed: int) -> None:
    assert seed_for(run_seed, index) == seed
    assert seeds(run_seed, index, index + 1) == seeds(run_seed, index, index + 100)[:1] == [seed]


def test_the_generator_of_a_parameter() -> None:
    assert rng_for(seed_for(1, 2)).random() == 0.015614462849527277


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
