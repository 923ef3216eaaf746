"""Points of the unit cube, each computed from its index alone, so that a sample of 10⁹ points needs no memory.

``random``: SplitMix64 as a counter-based generator. ``lhs``: a Latin hypercube; the strata of each axis are visited in
an order given by a keyed permutation (a Feistel network with cycle walking; Black and Rogaway, "Ciphers with arbitrary
finite domains", CT-RSA 2002). ``sobol``: the Sobol sequence in Gray-code order with the direction numbers of Joe and
Kuo ("Constructing Sobol sequences with better two-dimensional projections", SIAM J. Sci. Comput. 30, 2008; the set
new-joe-kuo-6), scrambled by a random digital shift.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ttg.seeds import mix, mix_array

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOBOL_BITS = 32
SOBOL_SIZE = 2**SOBOL_BITS
LHS_SIZE = 2**52
_FEISTEL_ROUNDS = 6
_BELOW_ONE = 1.0 - 2.0**-53

# Per axis from the second on: degree and coefficients of the primitive polynomial, and the initial direction numbers.
_JOE_KUO = (
    (1, 0, (1,)),
    (2, 1, (1, 3)),
    (3, 1, (1, 3, 1)),
    (3, 2, (1, 1, 1)),
    (4, 1, (1, 1, 3, 3)),
    (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)),
    (5, 4, (1, 1, 5, 5, 5)),
    (5, 7, (1, 1, 7, 11, 19)),
    (5, 11, (1, 1, 5, 1, 1)),
    (5, 13, (1, 1, 1, 3, 11)),
    (5, 14, (1, 3, 5, 5, 31)),
    (6, 1, (1, 3, 3, 9, 7, 49)),
    (6, 13, (1, 1, 1, 15, 21, 21)),
    (6, 16, (1, 3, 1, 13, 27, 49)),
    (6, 19, (1, 1, 1, 15, 7, 5)),
    (6, 22, (1, 3, 1, 15, 13, 25)),
    (6, 25, (1, 1, 5, 5, 19, 61)),
    (7, 1, (1, 3, 7, 11, 23, 15, 103)),
    (7, 4, (1, 3, 7, 13, 13, 15, 69)),
)
SOBOL_AXES = len(_JOE_KUO) + 1


def axis_key(seed: int, axis: int) -> int:
    """What keeps the random numbers of two axes apart."""
    return mix(mix(seed, 0), axis)


def random_points(key: int, indices: NDArray[Any]) -> NDArray[np.float64]:
    """Independent uniform numbers strictly between 0 and 1, of 52 bits."""
    import numpy as np

    points: NDArray[np.float64] = ((mix_array(key, indices) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return points


def lhs_points(key: int, size: int, indices: NDArray[Any]) -> NDArray[np.float64]:
    """One axis of a Latin hypercube of ``size`` points: each of ``size`` equal strata holds exactly one of them."""
    strata = permuted(key, size, indices).astype("float64")
    return ((strata + random_points(key ^ 1, indices)) / size).clip(2.0**-53, _BELOW_ONE)


def permuted(key: int, size: int, indices: NDArray[Any]) -> NDArray[np.uint64]:
    """A random permutation of ``range(size)``, evaluated at ``indices``."""
    import numpy as np

    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    numbers = _feistel(key, half_bits, indices.astype(np.uint64))
    while len(outside := np.flatnonzero(numbers >= np.uint64(size))):
        numbers[outside] = _feistel(key, half_bits, numbers[outside])
    return numbers


def _feistel(key: int, half_bits: int, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A keyed bijection of the numbers below ``4 ** half_bits``."""
    import numpy as np

    shift, mask = np.uint64(half_bits), np.uint64(2**half_bits - 1)
    left, right = numbers >> shift, numbers & mask
    for number in range(_FEISTEL_ROUNDS):
        left, right = right, left ^ (mix_array(mix(key, number), right) & mask)
    return (left << shift) | right


def sobol_points(key: int, axis: int, indices: NDArray[Any]) -> NDArray[np.float64]:
    """One axis of the shifted Sobol sequence."""
    import numpy as np

    bits = _sobol_bits(axis, indices) ^ np.uint64(key >> SOBOL_BITS)
    points: NDArray[np.float64] = (bits.astype(np.float64) + 0.5) * 2.0**-SOBOL_BITS
    return points


def _sobol_bits(axis: int, indices: NDArray[Any]) -> NDArray[np.uint64]:
    """The unscrambled sequence as 32-bit fractions."""
    import numpy as np

    numbers = indices.astype(np.uint64)
    gray = numbers ^ (numbers >> np.uint64(1))
    bits = np.zeros(len(gray), dtype=np.uint64)
    for position, table in enumerate(_sobol_tables(axis)):
        bits ^= table[(gray >> np.uint64(8 * position)) & np.uint64(255)]
    return bits


@lru_cache
def _sobol_tables(axis: int) -> NDArray[np.uint64]:
    """For each byte of a Gray code, the exclusive-or of the direction numbers its bits select."""
    import numpy as np

    tables = np.zeros((SOBOL_BITS // 8, 256), dtype=np.uint64)
    for bit, direction in enumerate(_directions(axis)):
        position, place = divmod(bit, 8)
        tables[position, np.arange(256) >> place & 1 == 1] ^= np.uint64(direction)
    return tables


def _directions(axis: int) -> list[int]:
    if axis == 0:
        return [1 << (SOBOL_BITS - 1 - bit) for bit in range(SOBOL_BITS)]
    degree, coefficients, initial = _JOE_KUO[axis - 1]
    directions = [number << (SOBOL_BITS - 1 - bit) for bit, number in enumerate(initial)]
    for bit in range(degree, SOBOL_BITS):
        direction = directions[bit - degree] ^ (directions[bit - degree] >> degree)
        for lag in range(1, degree):
            if coefficients >> (degree - 1 - lag) & 1:
                direction ^= directions[bit - lag]
        directions.append(direction)
    return directions
