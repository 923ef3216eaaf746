"""One seed per parameter, from the run's seed and the index alone: the same whatever worker, chunk or attempt.

The mixing is SplitMix64's output function over a Weyl sequence (Steele, Lea, Flood: "Fast splittable pseudorandom
number generators", OOPSLA 2014; constants of its variant 13 by David Stafford). Output number i of that generator
depends only on its start and i, so it is a counter-based generator: any seed is found without those before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MASK = 2**64 - 1
_WEYL = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_FEW = 64
SEED_BITS = 31
_SEED_MASK = 2**SEED_BITS - 1


def mix(key: int, counter: int) -> int:
    """64 well-mixed bits: output ``counter`` of the SplitMix64 generator that starts at ``key``."""
    bits = (key + (counter + 1) * _WEYL) & _MASK
    bits = ((bits ^ (bits >> 30)) * _MIX_1) & _MASK
    bits = ((bits ^ (bits >> 27)) * _MIX_2) & _MASK
    return bits ^ (bits >> 31)


def mix_array(key: int, counters: NDArray[Any]) -> NDArray[np.uint64]:
    """:func:`mix` for an array of counters, as uint64."""
    import numpy as np

    bits = (counters.astype(np.uint64) + np.uint64(1)) * np.uint64(_WEYL)
    bits += np.uint64(key & _MASK)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_MIX_1)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_MIX_2)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed


def seed_for(run_seed: int, index: int) -> int:
    """The seed of one parameter: 31 bits, so that every library takes it, and none twice in 2**31 indices."""
    seed: int = _permuted(mix(mix(run_seed, 0), index >> SEED_BITS), index & _SEED_MASK)
    return seed


def _permuted(key: int, number: Any) -> Any:
    """A permutation of the numbers of 31 bits: twice Wellons' lowbias32, each step of which can be undone whatever the
    width. ``number`` is an int or an array of uint64."""
    for part in (key & _SEED_MASK, key >> (64 - SEED_BITS)):
        number = (number + part) & _SEED_MASK
        number = ((number ^ (number >> 16)) * 0x7FEB352D) & _SEED_MASK
        number = ((number ^ (number >> 15)) * 0x046CA68B) & _SEED_MASK
        number = number ^ (number >> 16)
    return number


def wide_seed_for(run_seed: int, index: int) -> int:
    """63 bits for one parameter: what its generator is made of, and its seed in runs of versions before 3."""
    return mix(mix(run_seed, 0), index) >> 1


def seeds(run_seed: int, start: int, stop: int, *, wide: bool = False) -> list[int]:
    """``[seed_for(run_seed, i) for i in range(start, stop)]``, vectorised; or those of :func:`wide_seed_for`."""
    if stop - start <= _FEW:
        one = wide_seed_for if wide else seed_for
        return [one(run_seed, index) for index in range(start, stop)]
    values: list[int] = seed_array(run_seed, start, stop, wide=wide).tolist()
    return values


def seed_array(run_seed: int, start: int, stop: int, *, wide: bool = False) -> NDArray[np.int64]:
    """:func:`seeds` as an array."""
    import numpy as np

    indices = np.arange(start, stop)
    if wide:
        return (mix_array(mix(run_seed, 0), indices) >> np.uint64(1)).view(np.int64)
    if start >> SEED_BITS != (stop - 1) >> SEED_BITS:
        return np.array([seed_for(run_seed, index) for index in range(start, stop)], np.int64)
    key = mix(mix(run_seed, 0), start >> SEED_BITS)
    permuted: NDArray[np.int64] = _permuted(key, indices & _SEED_MASK)
    return permuted


def rngs(run_seed: int, start: int, stop: int) -> list[np.random.Generator]:
    """NumPy's default generator (PCG64) for each parameter, from its wide seed: streams of no two are alike."""
    import numpy as np

    return list(map(np.random.default_rng, seeds(run_seed, start, stop, wide=True)))
