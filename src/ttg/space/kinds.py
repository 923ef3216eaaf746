"""The elementary spaces: axes in step, samples, rows in memory, and rows that are elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from ttg.errors import SpaceError
from ttg.messages.parameters import JSON_TYPES, encoded_values, enums_in
from ttg.space.axes import AnyAxis
from ttg.space.base import Space
from ttg.space.distributions import AnyDistribution
from ttg.space.forms import Method, RowsForm, SampleForm, ZipForm
from ttg.space.points import LHS_SIZE, SOBOL_AXES, SOBOL_SIZE, axis_key, lhs_points, random_points, sobol_points
from ttg.space.values import check_names, check_size, column_array, items_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HASHED_AT_ONCE = 100_000
_SIZE_LIMITS = {"lhs": LHS_SIZE, "sobol": SOBOL_SIZE}


class Zipped(Space):
    """One axis, or several of the same length taken in step."""

    def __init__(self, axes: Mapping[str, AnyAxis]) -> None:
        self.names = check_names(axes)
        self.axes = dict(axes)
        lengths = {name: len(axis) for name, axis in axes.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise SpaceError(f"zip needs axes of equal length: {listed}")
        self._size = lengths[self.names[0]]

    def __len__(self) -> int:
        return self._size

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        return {name: axis.slice(start, stop) for name, axis in self.axes.items()}

    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {name: axis.array(indices) for name, axis in self.axes.items()}

    def form(self) -> ZipForm:
        return ZipForm({name: axis.encoded() for name, axis in self.axes.items()})


class Sampled(Space):
    """``count`` points drawn from distributions. Point i depends on the seed, i and (``lhs`` only) the count."""

    def __init__(self, count: int, method: str, seed: int, distributions: Mapping[str, AnyDistribution]) -> None:
        self.names = check_names(distributions)
        if method not in get_args(Method):
            raise SpaceError(f"unknown sampling method {method!r}: expected one of {', '.join(get_args(Method))}")
        if count < 1:
            raise SpaceError(f"expected a sample of at least 1 point, got {count}")
        if check_size(count) > _SIZE_LIMITS.get(method, count):
            raise SpaceError(
                f"method {method!r} gives at most {_SIZE_LIMITS[method]} points, not {count}: use 'random'"
            )
        if method == "sobol" and len(self.names) > SOBOL_AXES:
            raise SpaceError(
                f"method 'sobol' has at most {SOBOL_AXES} parameters, got {len(self.names)}: use 'lhs' or 'random'"
            )
        self.count, self.method, self.seed = count, method, seed
        self.distributions = dict(distributions)

    def __len__(self) -> int:
        return self.count

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        import numpy as np

        return {name: items_of(array) for name, array in self.arrays(np.arange(start, stop)).items()}

    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        distributions = self.distributions.items()
        return {name: one.values(self._points(axis, indices)) for axis, (name, one) in enumerate(distributions)}

    def _points(self, axis: int, indices: NDArray[Any]) -> NDArray[Any]:
        key = axis_key(self.seed, axis)
        if self.method == "sobol":
            return sobol_points(key, axis, indices)
        return lhs_points(key, self.count, indices) if self.method == "lhs" else random_points(key, indices)

    def form(self) -> SampleForm:
        distributions = {name: one.encoded() for name, one in self.distributions.items()}
        return SampleForm(self.count, self.method, self.seed, distributions)  # type: ignore[arg-type]


class Rows(Space):
    """Rows in memory, kept as columns. Workers get them with their tasks."""

    computable = False

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self.names = check_names(columns)
        self._columns = dict(columns)
        self._size = check_size(len(columns[self.names[0]]))
        self._arrays: dict[str, NDArray[Any]] = {}
        self._form: RowsForm | None = None

    def __len__(self) -> int:
        return self._size

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        return {name: column[start:stop] for name, column in self._columns.items()}

    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        if not self._arrays:
            self._arrays = {name: column_array(column) for name, column in self._columns.items()}
        return {name: array[indices] for name, array in self._arrays.items()}

    def form(self) -> RowsForm:
        self._form = self._form or self._made_form()
        return self._form

    def _made_form(self) -> RowsForm:
        digest, enums = hashlib.sha256(), set[str]()
        for start in range(0, self._size, _HASHED_AT_ONCE):
            columns = self.columns(start, start + _HASHED_AT_ONCE)
            data = {name: encoded_values(column) for name, column in columns.items()}
            digest.update(msgspec.json.encode(data))
            enums |= enums_in(
                {name: column for name, column in data.items() if not set(map(type, column)) <= JSON_TYPES}
            )
        return RowsForm(self.names, self._size, digest.hexdigest(), tuple(sorted(enums)))

    def sources(self) -> tuple[Space, ...]:
        return (self,)


class AbsentRows(Space):
    """Rows that did not travel: a worker knows their names and number, and takes them from its tasks."""

    computable = False

    def __init__(self, form: RowsForm) -> None:
        self.names = check_names(form.names)
        self._size = check_size(form.count)
        self._form = form

    def __len__(self) -> int:
        return self._size

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        raise SpaceError(
            f"the rows of ({', '.join(self.names)}) came from a file or an iterator and are not here: "
            "take them from the tasks, or give the file again"
        )

    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return dict(self.columns(0, 0))  # type: ignore[arg-type]

    def form(self) -> RowsForm:
        return self._form
