"""Distributions for sampling: functions from the unit interval to values.

``values(unit)`` takes an array of numbers strictly between 0 and 1 and maps each by the inverse of the distribution
function, so every sampling method (random, Latin hypercube, Sobol) serves every distribution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from ttg.errors import SpaceError
from ttg.messages.parameters import MemberOf
from ttg.space.axes import AnyAxis, make_axis
from ttg.space.values import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Distribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="distribution"):
    """How one sampled parameter is distributed. ``encoded`` and ``decoded`` are as those of an axis."""

    def encoded(self) -> AnyDistribution:
        return self  # type: ignore[return-value]

    def decoded(self, member: MemberOf) -> AnyDistribution:
        return self  # type: ignore[return-value]


class Uniform(Distribution, frozen=True, tag="uniform"):
    """Floats between ``low`` and ``high``, all equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        text = f"uniform({self.low:g}, {self.high:g})"
        finite(self.low, text), finite(self.high, text), finite(self.high - self.low, text)
        if not self.low < self.high:
            raise SpaceError(f"{text}: expected low < high")

    def values(self, unit: NDArray[Any]) -> NDArray[Any]:
        return unit * (self.high - self.low) + self.low


class LogUniform(Distribution, frozen=True, tag="loguniform"):
    """Floats between ``low`` and ``high`` whose logarithm is uniform."""

    low: float
    high: float

    def __post_init__(self) -> None:
        text = f"loguniform({self.low:g}, {self.high:g})"
        finite(self.low, text), finite(self.high, text)
        if not 0 < self.low < self.high:
            raise SpaceError(f"{text}: expected 0 < low < high")

    def values(self, unit: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        low, high = math.log(self.low), math.log(self.high)
        # libm's exp: NumPy's own may differ in the last bit from one processor to the next.
        values = np.fromiter(map(math.exp, (unit * (high - low) + low).tolist()), np.float64, count=len(unit))
        return values.clip(self.low, self.high)


class Normal(Distribution, frozen=True, tag="normal"):
    """Normally distributed floats with this mean and standard deviation."""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        text = f"normal({self.mean:g}, {self.deviation:g})"
        finite(self.mean, text), finite(self.deviation, text)
        if self.deviation <= 0:
            raise SpaceError(f"{text}: the standard deviation must be above 0")

    def values(self, unit: NDArray[Any]) -> NDArray[Any]:
        from statistics import NormalDist

        import numpy as np

        quantile = NormalDist(self.mean, self.deviation).inv_cdf
        return np.fromiter(map(quantile, unit.tolist()), np.float64, count=len(unit))


class Choice(Distribution, frozen=True, tag="choice"):
    """One of the values of an axis, all equally likely."""

    axis: AnyAxis

    def encoded(self) -> Choice:
        return Choice(self.axis.encoded())

    def decoded(self, member: MemberOf) -> Choice:
        return Choice(self.axis.decoded(member))

    def values(self, unit: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        numbers = (unit * len(self.axis)).astype(np.int64)
        return self.axis.array(numbers.clip(0, len(self.axis) - 1))


AnyDistribution = Uniform | LogUniform | Normal | Choice


def make_distribution(source: Any, where: str) -> AnyDistribution:
    """A distribution as it is; anything that could be an axis is a choice among its values."""
    if isinstance(source, Distribution):
        return source  # type: ignore[return-value]
    return Choice(make_axis(source, where))
