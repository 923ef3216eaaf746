"""A space in the words in which people write it."""

from __future__ import annotations

import ttg
from ttg.space import space_to_json
from ttg.space.words import described


def test_axes_samples_and_rows_are_described() -> None:
    space = ttg.grid(x=ttg.linspace(0, 1, 5), y=ttg.logspace(-2, 0, 3), z=range(0, 9, 3), name=["a", "b"])
    assert described(space_to_json(space)) == {
        "x": "linspace(0, 1, 5)",
        "y": "logspace(-2, 0, 3)",
        "z": "range(0, 9, 3)",
        "name": "a, b",
    }
    assert described(space_to_json(ttg.grid(x=[*range(0, 70, 10), 3]))) == {"x": "0 … 3, 8 values"}
    sampled = ttg.sample(1000, "lhs", a=ttg.uniform(0, 2), b=ttg.choice("u", "v"))
    assert described(space_to_json(sampled)) == {
        "a": "uniform(0, 2), 1,000 points lhs",
        "b": "choice(u, v), 1,000 points lhs",
    }
    either = ttg.grid(x=[1]) + ttg.grid(x=[2])
    assert described(space_to_json(either)) == {"x": "1, then 2"}
    assert described(space_to_json(ttg.rows([{"x": 1}, {"x": 2}]))) == {"x": "of 2 rows"}
