"""Samples: reproducible, found by index, and distributed as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm, qmc

from ttg.space import choice, loguniform, normal, sample, uniform
from ttg.space.points import SOBOL_AXES, _sobol_bits, permuted


def test_sobol_is_the_published_sequence() -> None:
    ours = np.stack([_sobol_bits(axis, np.arange(1024)) for axis in range(SOBOL_AXES)], axis=1) / 2.0**32
    assert np.array_equal(ours, qmc.Sobol(SOBOL_AXES, scramble=False, bits=32).random(1024))


def test_shifted_sobol_fills_space_more_evenly_than_random_points() -> None:
    def discrepancy(method: str) -> float:
        columns = sample(1024, method, 3, a=uniform(0, 1), b=uniform(0, 1)).columns(0, 1024)
        return float(qmc.discrepancy(np.array([columns["a"], columns["b"]]).T))

    assert discrepancy("sobol") < discrepancy("random") / 10


@given(st.integers(1, 300), st.integers(0, 2**64 - 1))
def test_permuted_is_a_permutation(size: int, key: int) -> None:
    assert sorted(permuted(key, size, np.arange(size)).tolist()) == list(range(size))


def test_a_latin_hypercube_has_one_point_in_each_stratum() -> None:
    columns = sample(500, "lhs", 1, a=uniform(0, 500), b=uniform(0, 500)).columns(0, 500)
    for column in columns.values():
        assert sorted(map(int, column)) == list(range(500))
    assert columns["a"] != columns["b"]


@pytest.mark.parametrize("method", ["random", "lhs", "sobol"])
def test_samples_are_reproducible_and_depend_on_the_seed(method: str) -> None:
    def drawn(seed: int) -> list[dict[str, float]]:
        return sample(64, method, seed, x=uniform(0, 1), y=normal(0, 1)).rows(0, 64)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("method", ["random", "lhs", "sobol"])
def test_distributions(method: str) -> None:
    space = sample(8192, method, 11, u=uniform(2, 5), n=normal(10, 3), g=loguniform(1e-3, 1e3), c=choice(1, 2, 3, 4))
    columns = {name: np.array(column) for name, column in space.columns(0, len(space)).items()}
    assert kstest((columns["u"] - 2) / 3, "uniform").pvalue > 1e-4
    assert kstest(columns["n"], norm(10, 3).cdf).pvalue > 1e-4
    assert kstest((np.log10(columns["g"]) + 3) / 6, "uniform").pvalue > 1e-4
    assert np.bincount(columns["c"])[1:].min() > 1900


def test_a_random_sample_grows_without_changing() -> None:
    small, large = sample(10, seed=5, x=uniform(0, 1)), sample(10**9, seed=5, x=uniform(0, 1))
    assert small.rows(0, 10) == large.rows(0, 10)
    assert 0 <= large[10**9 - 1]["x"] <= 1


def test_lists_and_scalars_in_a_sample_are_choices() -> None:
    space = sample(50, x=[1, 2], y="fixed", z=range(10))
    assert {item["x"] for item in space} == {1, 2}
    assert {item["y"] for item in space} == {"fixed"}
    assert {item["z"] for item in space} <= set(range(10))
