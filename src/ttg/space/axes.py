"""Axes: the values of one parameter, in order, computed rather than stored where there is a formula."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec

from ttg.errors import SpaceError
from ttg.messages.parameters import MemberOf, decoded_values, encoded_values
from ttg.space.values import EXACT_FLOATS, INTEGERS, check_size, column_array, finite, plain, plain_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE_SIZE = 65_536
"""Axes up to this length keep their values, so that a slice only copies references."""

COMPRESS_FROM = 1_000
"""Lists from this length on are looked at for a formula, so that 10⁶ equidistant values travel as three numbers."""


class Axis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="axis", dict=True):
    """The values of one parameter. Each kind has

    - ``len(axis)``;
    - ``slice(start, stop)``: values number ``start`` up to ``stop`` as native Python objects, at C speed;
    - ``array(indices)``: the values with these numbers (int64) as an array, equal to ``slice`` to the last bit.
    """

    def encoded(self) -> AnyAxis:
        """As it travels, of JSON data only."""
        return self  # type: ignore[return-value]

    def decoded(self, member: MemberOf) -> AnyAxis:
        """The axis that was ``encoded`` so; see :func:`ttg.messages.parameters.decoded`."""
        return self  # type: ignore[return-value]

    @property
    def mutable(self) -> bool:
        """Whether it is an encoded axis with lists, dicts, arrays and the like."""
        return False


class Range(Axis, frozen=True, tag="range"):
    """Integers ``start, start + step, …`` before ``stop``; slices are ``range`` objects."""

    start: int
    stop: int
    step: int = 1

    def __post_init__(self) -> None:
        text = f"range({self.start}, {self.stop}, {self.step})"
        if self.step == 0:
            raise SpaceError(f"{text}: the step must not be 0")
        if not all(number in INTEGERS for number in (self.start, self.stop, self.step)):
            raise SpaceError(f"{text}: the numbers must fit 64 bits")
        if self.size < 1:
            raise SpaceError(f"{text} is empty: expected a stop {'above' if self.step > 0 else 'below'} the start")
        check_size(self.size)

    @property
    def size(self) -> int:
        """Number of values, also beyond what ``len`` can say."""
        return -((self.start - self.stop) // self.step)

    def __len__(self) -> int:
        return self.size

    def slice(self, start: int, stop: int) -> range:
        return range(self.start + start * self.step, self.start + stop * self.step, self.step)

    def array(self, indices: NDArray[Any]) -> NDArray[Any]:
        return indices * self.step + self.start


class Linspace(Axis, frozen=True, tag="linspace"):
    """``count`` equidistant floats from ``start`` to ``stop``, both included; the same ones as ``numpy.linspace``."""

    start: float
    stop: float
    count: int

    def __post_init__(self) -> None:
        text = f"linspace({self.start:g}, {self.stop:g}, {self.count})"
        finite(self.start, text), finite(self.stop, text), finite(self.stop - self.start, text)
        if self.count < 1:
            raise SpaceError(f"{text}: the count must be at least 1")
        check_size(self.count)

    def __len__(self) -> int:
        return self.count

    @cached_property
    def _step(self) -> float:
        return (self.stop - self.start) / max(1, self.count - 1)

    @cached_property
    def _table(self) -> list[float]:
        head = [index * self._step + self.start for index in range(self.count - 1)]
        return [*head, self.stop if self.count > 1 else self.start]

    def slice(self, start: int, stop: int) -> list[float]:
        if self.count <= TABLE_SIZE:
            return self._table[start:stop]
        import numpy as np

        values: list[float] = self.array(np.arange(start, stop, dtype=np.int64)).tolist()
        return values

    def array(self, indices: NDArray[Any]) -> NDArray[Any]:
        values = indices * self._step
        values += self.start
        if self.count > 1:
            values[indices == self.count - 1] = self.stop
        return values


class Logspace(Axis, frozen=True, tag="logspace"):
    """``count`` floats from 10 to the power ``start`` up to 10 to the power ``stop``, equidistant on a log scale."""

    start: float
    stop: float
    count: int

    def __post_init__(self) -> None:
        if max(self.start, self.stop) > 308:
            raise SpaceError(
                f"logspace({self.start:g}, {self.stop:g}, {self.count}): start and stop are exponents of 10, "
                "at most 308; for values from 1 to 1000 write logspace(0, 3, n)"
            )
        len(self._exponents)

    def __len__(self) -> int:
        return self.count

    @cached_property
    def _exponents(self) -> Linspace:
        return Linspace(self.start, self.stop, self.count)

    @cached_property
    def _table(self) -> list[float]:
        return self._powers(0, self.count)

    def _powers(self, start: int, stop: int) -> list[float]:
        return list(map(pow, repeat(10.0), self._exponents.slice(start, stop)))

    def slice(self, start: int, stop: int) -> list[float]:
        return self._table[start:stop] if self.count <= TABLE_SIZE else self._powers(start, stop)

    def array(self, indices: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        # libm's pow, as in slice: NumPy's own may differ in the last bit from one processor to the next.
        exponents = self._exponents.array(indices).tolist()
        return np.fromiter(map(pow, repeat(10.0), exponents), dtype=np.float64, count=len(exponents))


class Values(Axis, frozen=True, tag="values"):
    """Listed values."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        check_size(len(self.values))

    def __len__(self) -> int:
        return len(self.values)

    def encoded(self) -> Values:
        return Values(tuple(encoded_values(self.values)))

    def decoded(self, member: MemberOf) -> Values:
        return Values(tuple(decoded_values(self.values, member)))

    @property
    def mutable(self) -> bool:
        return any(isinstance(value, list | dict) for value in self.values)

    @cached_property
    def _array(self) -> NDArray[Any]:
        return column_array(self.values)

    def slice(self, start: int, stop: int) -> Sequence[Any]:
        return self.values[start:stop]

    def array(self, indices: NDArray[Any]) -> NDArray[Any]:
        array: NDArray[Any] = self._array[indices]
        return array


AnyAxis = Range | Linspace | Logspace | Values


def make_axis(source: Any, where: str) -> AnyAxis:
    """An axis from what a user may give: an axis, a range, a scalar, or anything that lists values in an order."""
    if isinstance(source, Axis):
        return source  # type: ignore[return-value]
    if isinstance(source, range):
        return Range(source.start, source.stop, source.step)
    if isinstance(source, str | bytes | dict) or not isinstance(source, Iterable):
        return Values((plain(source, where),))
    if isinstance(source, set | frozenset):
        raise SpaceError(f"{where}: a set has no order, so its values have no index: pass sorted(…) instead")
    dimensions = getattr(source, "ndim", 1)
    if dimensions == 0:
        return Values((plain(source, where),))
    if dimensions != 1:
        raise SpaceError(
            f"{where}: expected one dimension, got {dimensions}: pass [array] for one value, "
            "list(array) for one per row, or array.ravel()"
        )
    items = plain_values(_listed(source), where)
    if not items:
        raise SpaceError(f"{where} has no values: expected at least one")
    return _formula(items) or Values(tuple(items))


def _listed(source: Any) -> Iterable[Any]:
    """The items of an array at once as Python's, but for times, which ``tolist`` would make text or numbers of."""
    numbers = hasattr(source, "tolist") and getattr(getattr(source, "dtype", None), "kind", "O") not in "mMO"
    return source.tolist() if numbers else source  # type: ignore[no-any-return]


def _formula(items: list[Any]) -> AnyAxis | None:
    if len(items) < COMPRESS_FROM:
        return None
    kinds = set(map(type, items))
    if kinds == {int} and (step := items[1] - items[0]):
        found = Range(items[0], items[0] + step * len(items), step) if _in_64_bits(items, step) else None
        return found if found and items == list(found.slice(0, len(items))) else None
    if kinds == {float} and math.isfinite(items[-1] - items[0]) and len(items) in EXACT_FLOATS:
        line = Linspace(items[0], items[-1], len(items))
        return line if items == list(line.slice(0, len(items))) else None
    return None


def _in_64_bits(items: list[int], step: int) -> bool:
    return items[0] + step * len(items) in INTEGERS and step in INTEGERS
