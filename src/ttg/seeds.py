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
    """The seed of one parameter: 63 bits, so that it fits a signed 64-bit column."""
    return mix(mix(run_seed, 0), index) >> 1


def seeds(run_seed: int, start: int, stop: int) -> list[int]:
    """``[seed_for(run_seed, i) for i in range(start, stop)]``, vectorised."""
    if stop - start <= _FEW:
        return [seed_for(run_seed, index) for index in range(start, stop)]
    values: list[int] = seed_array(run_seed, start, stop).tolist()
    return values


def seed_array(run_seed: int, start: int, stop: int) -> NDArray[np.int64]:
    """:func:`seeds` as an array."""
    import numpy as np

    return (mix_array(mix(run_seed, 0), np.arange(start, stop)) >> np.uint64(1)).view(np.int64)


def rng_for(seed: int) -> np.random.Generator:
    """NumPy's default generator (PCG64) for a parameter's seed."""
    import numpy as np

    return np.random.default_rng(seed)
