"""Seeds by run seed and index."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ttg.seeds import mix, rng_for, seed_for, seeds


def test_mix_is_splitmix64() -> None:
    # First outputs of the reference implementation (Vigna, splitmix64.c) for the start 1234567.
    assert [mix(1234567, counter) for counter in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 200), st.integers(0, 150))
def test_one_by_one_and_together_agree(run_seed: int, start: int, count: int) -> None:
    expected = [seed_for(run_seed, index) for index in range(start, start + count)]
    assert seeds(run_seed, start, start + count) == expected
    assert all(0 <= seed < 2**63 for seed in expected)


def test_neighbouring_runs_and_indices_have_different_seeds() -> None:
    assert len({seed for run_seed in range(50) for seed in seeds(run_seed, 0, 1000)}) == 50_000


def test_rng_for_is_reproducible() -> None:
    assert rng_for(seed_for(1, 2)).random() == rng_for(seed_for(1, 2)).random()
