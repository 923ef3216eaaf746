"""Spaces: lazy, indexable, ordered sets of parameters, and how they compose."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from ttg.errors import SpaceError
from ttg.messages.parameters import encoded_values
from ttg.space.forms import AnyForm, ConcatForm, ProductForm
from ttg.space.values import check_names, check_size, column_array, items_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Columns = Mapping[str, Sequence[Any]]

ROWS_AT_ONCE = 1024


class Space(ABC):
    """N parameter dicts in a fixed order, never expanded: ``space[i]``, ``len(space)``, iteration.

    ``a * b`` is every combination (disjoint names; b varies fastest), ``a + b`` is a, then b (same names).
    ``columns``, ``arrays`` and ``[]`` give equal values, bit by bit. ``computable`` says whether a worker can compute
    the values from the space's JSON form; otherwise tasks carry their rows.
    """

    names: tuple[str, ...]
    computable: bool = True
    at_hand = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        """Columns of native Python values for ``0 <= start <= stop <= len(self)``: the hot loop's input, at C speed."""

    @abstractmethod
    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The same values for any int64 indices in range, in arrays as of :func:`~ttg.space.values.column_array`."""

    @abstractmethod
    def form(self) -> AnyForm:
        """What :func:`~ttg.space.space_to_json` writes."""

    def sources(self) -> tuple[Space, ...]:
        """The parts whose rows exist only here; :func:`~ttg.space.space_from_json` can be given them back."""
        return ()

    def __getitem__(self, index: int) -> dict[str, Any]:
        position = operator.index(index)
        position += len(self) if position < 0 else 0
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is outside the space of {len(self)} parameters")
        return {name: column[0] for name, column in self.columns(position, position + 1).items()}

    def rows(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Parameters number ``start`` up to ``stop`` as dicts."""
        names = self.names
        return [dict(zip(names, row, strict=True)) for row in zip(*self.columns(start, stop).values(), strict=True)]

    def encoded_columns(self, start: int, stop: int) -> dict[str, list[Any]]:
        """``columns`` as JSON data, for tasks that carry their rows."""
        return {name: encoded_values(column) for name, column in self.columns(start, stop).items()}

    def encoded_rows(self, start: int, stop: int) -> list[dict[str, Any]]:
        """``rows`` as JSON data, for dead letters."""
        columns = self.encoded_columns(start, stop)
        return [dict(zip(self.names, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield from self.rows(start, min(start + ROWS_AT_ONCE, len(self)))

    def __mul__(self, other: Space) -> Space:
        return Product((*_factors(self), *_factors(other))) if isinstance(other, Space) else NotImplemented

    def __add__(self, other: Space) -> Space:
        return Concat((*_parts(self), *_parts(other))) if isinstance(other, Space) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.form() == other.form()

    def __hash__(self) -> int:
        return hash(msgspec.json.encode(self.form()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} parameters: {', '.join(self.names)}>"


def gathered(space: Space, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """``space.arrays(indices)`` by way of its columns, one stretch of consecutive indices after the other."""
    import numpy as np

    stretches = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    pieces = [space.columns(int(stretch[0]), int(stretch[-1]) + 1) for stretch in stretches if len(stretch)]
    return {name: column_array(list(chain.from_iterable(piece[name] for piece in pieces))) for name in space.names}


def _factors(space: Space) -> tuple[Space, ...]:
    return space.factors if isinstance(space, Product) else (space,)


def _parts(space: Space) -> tuple[Space, ...]:
    return space.parts if isinstance(space, Concat) else (space,)


class Product(Space):
    """Every combination of its factors; the last one varies fastest, as in nested loops."""

    def __init__(self, factors: Sequence[Space]) -> None:
        self.factors = tuple(factors)
        self.names = check_names(name for factor in factors for name in factor.names)
        self.computable = all(factor.computable for factor in factors)
        self._size = check_size(prod(map(len, factors)))
        # strides[k]: how many indices in a row share one parameter of factor k
        self._strides = [prod(map(len, factors[position + 1 :])) for position in range(len(factors))]

    def __len__(self) -> int:
        return self._size

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        columns: dict[str, Sequence[Any]] = {}
        for factor, stride in zip(self.factors, self._strides, strict=True):
            columns.update(_stretched(factor, stride, start, stop) if stop > start else factor.columns(0, 0))
        return columns

    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {}
        rest = indices
        for factor, stride in zip(self.factors[:-1], self._strides[:-1], strict=True):
            # Not divmod: NumPy divides by a constant fast, but takes remainders slowly.
            numbers = rest // stride
            arrays.update(factor.arrays(numbers))
            rest = rest - numbers * stride
        return arrays | self.factors[-1].arrays(rest)

    def form(self) -> ProductForm:
        return ProductForm(tuple(factor.form() for factor in self.factors))

    def sources(self) -> tuple[Space, ...]:
        return tuple(source for factor in self.factors for source in factor.sources())


def _stretched(factor: Space, stride: int, start: int, stop: int) -> Columns:
    """Columns of a factor of which each parameter lasts ``stride`` indices, and which starts over when it ends."""
    if stride == 1:
        return _cycled(factor, start, stop)
    period = stride * len(factor)
    if stop - start > period:
        whole = {name: _repeated(column, stride) for name, column in factor.columns(0, len(factor)).items()}
        return {name: _cycled_list(column, start, stop) for name, column in whole.items()}
    first = start // stride
    offset = start - first * stride
    values = _cycled(factor, first, (stop - 1) // stride + 1)
    return {name: _repeated(column, stride, offset, stop - start) for name, column in values.items()}


def _cycled(factor: Space, start: int, stop: int) -> Columns:
    """Columns of a factor that starts over when it ends."""
    size, count = len(factor), stop - start
    first = start % size
    if first + count <= size:
        return factor.columns(first, first + count)
    if count > size:
        return {name: _cycled_list(list(column), start, stop) for name, column in factor.columns(0, size).items()}
    head, tail = factor.columns(first, size), factor.columns(0, first + count - size)
    return {name: [*column, *tail[name]] for name, column in head.items()}


def _cycled_list(column: list[Any], start: int, stop: int) -> list[Any]:
    first = start % len(column)
    rounds, rest = divmod(stop - start - (len(column) - first), len(column))
    return column[first:] + column * rounds + column[:rest]


def _repeated(column: Sequence[Any], times: int, offset: int = 0, count: int | None = None) -> list[Any]:
    """Each value ``times`` times in a row; of that, ``count`` items from ``offset`` on.

    The loop is over the runs or over the places within a run, whichever are fewer: never over the items.
    """
    if count is None:
        count = times * len(column)
    if len(column) == 1:
        return [column[0]] * count
    if times > count:
        head = times - offset
        return [column[0]] * head + [column[1]] * (count - head)
    repeated: list[Any] = []
    if times > len(column):
        for value in column:
            repeated += [value] * times
    else:
        repeated = [None] * (times * len(column))
        for place in range(times):
            repeated[place::times] = column
    return repeated[offset : offset + count] if len(repeated) != count else repeated


class Concat(Space):
    """One space after the other."""

    def __init__(self, parts: Sequence[Space]) -> None:
        self.parts = tuple(parts)
        self.names = parts[0].names
        for part in parts:
            if set(part.names) != set(self.names):
                raise SpaceError(
                    f"cannot put ({', '.join(part.names)}) after ({', '.join(self.names)}): both need the same names"
                )
        self.computable = all(part.computable for part in parts)
        self._ends = list(accumulate(map(len, parts)))
        check_size(self._ends[-1])

    def __len__(self) -> int:
        return self._ends[-1]

    def columns(self, start: int, stop: int) -> dict[str, Sequence[Any]]:
        pieces = list(self._pieces(start, stop))
        if len(pieces) == 1:
            return {name: pieces[0][name] for name in self.names}
        return {name: list(chain.from_iterable(piece[name] for piece in pieces)) for name in self.names}

    def _pieces(self, start: int, stop: int) -> Iterator[Columns]:
        position = min(bisect_right(self._ends, start), len(self.parts) - 1)
        for part, end in zip(self.parts[position:], self._ends[position:], strict=True):
            begin = end - len(part)
            yield part.columns(max(start - begin, 0), min(stop - begin, len(part)))
            if stop <= end:
                return

    def arrays(self, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        import numpy as np

        owners = np.searchsorted(np.array(self._ends), indices, side="right")
        present = np.unique(owners).tolist()
        pieces = [(owners == owner, self._arrays_of(owner, indices[owners == owner])) for owner in present]
        if len(pieces) < 2:
            return pieces[0][1] if pieces else self._arrays_of(0, indices)
        return {name: _merged([(where, piece[name]) for where, piece in pieces]) for name in self.names}

    def _arrays_of(self, owner: int, indices: NDArray[Any]) -> dict[str, NDArray[Any]]:
        part = self.parts[owner]
        arrays = part.arrays(indices - (self._ends[owner] - len(part)))
        return {name: arrays[name] for name in self.names}

    def form(self) -> ConcatForm:
        return ConcatForm(tuple(part.form() for part in self.parts))

    def sources(self) -> tuple[Space, ...]:
        return tuple(source for part in self.parts for source in part.sources())


def _merged(pieces: list[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[Any]:
    """One array from (mask, values) pairs; types that differ meet in ``object``, so that 1 stays 1 beside 0.5."""
    import numpy as np

    dtypes = {values.dtype for _, values in pieces}
    merged = np.empty(len(pieces[0][0]), dtype=dtypes.pop() if len(dtypes) == 1 else object)
    for where, values in pieces:
        merged[where] = values if values.dtype == merged.dtype else np.fromiter(items_of(values), object, len(values))
    return merged
