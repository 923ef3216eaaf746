"""Seeds by run seed and index."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ttg.seeds import SEED_BITS, mix, rngs, seed_array, seed_for, seeds, wide_seed_for


def test_mix_is_splitmix64() -> None:
    # First outputs of the reference implementation (Vigna, splitmix64.c) for the start 1234567.
    assert [mix(1234567, counter) for counter in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@example(0, 2**SEED_BITS - 70, 150, False)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 200), st.integers(0, 150), st.booleans())
def test_one_by_one_and_together_agree(run_seed: int, start: int, count: int, wide: bool) -> None:
    one = wide_seed_for if wide else seed_for
    expected = [one(run_seed, index) for index in range(start, start + count)]
    assert seeds(run_seed, start, start + count, wide=wide) == expected
    assert all(0 <= seed < 2 ** (63 if wide else SEED_BITS) for seed in expected)


def test_no_two_parameters_of_a_run_share_a_seed() -> None:
    assert len(np.unique(seed_array(3, 2**SEED_BITS - 10**6, 2**SEED_BITS))) == 10**6
    assert len({*seeds(3, 0, 10**5), *seeds(4, 0, 10**5)}) > 2 * 10**5 - 50  # two runs: as chance has it, about 5


def test_seeds_of_neighbours_have_nothing_in_common() -> None:
    drawn = seed_array(0, 0, 10**5)
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02
    assert abs(np.corrcoef(drawn, seed_array(1, 0, 10**5))[0, 1]) < 0.02
    changed = drawn[1:] ^ drawn[:-1]
    assert all(abs((changed >> bit & 1).mean() - 0.5) < 0.02 for bit in range(SEED_BITS))


def test_a_seed_fits_what_takes_32_bits() -> None:
    for seed in seeds(0, 0, 1000):
        np.random.RandomState(seed)
        np.int32(seed)


def test_generators_are_those_of_wide_seeds() -> None:
    (rng,) = rngs(1, 2, 3)
    assert rng.random() == np.random.default_rng(wide_seed_for(1, 2)).random()
