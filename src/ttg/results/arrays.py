"""Columns as NumPy arrays, and the table as an xarray Dataset over the axes of its grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ttg.errors import InputError
from ttg.results.arrow import pa
from ttg.results.convert import EXACT
from ttg.results.folder import RunFolder
from ttg.results.kinds import List, Scalar, Type, family, is_text, packed_leaf, type_of_field
from ttg.results.packed import stack
from ttg.results.rows import space_of
from ttg.results.schema import OWN_NAMES, parameter_column
from ttg.results.selection import Indices, Selection, select
from ttg.results.values import column_values, flattened, numpy_items
from ttg.space import Space
from ttg.space.base import Product

if TYPE_CHECKING:
    import xarray

Ndarray = np.ndarray[Any, Any]
_FAMILIES = ("number", "bool", "complex", "datetime", "timedelta")


def array(folder: RunFolder, column: str, indices: Indices | None = None) -> Ndarray:
    """A column of numbers, or of arrays of them of one shape, as one array of shape (rows, …), ordered by index.

    There is a row for each index that has a result. Null, and what is masked, is masked. ``InputError`` for a column of
    something else, and for arrays of different shapes.
    """
    chosen = select(folder, [column], indices)
    return _stacked(chosen, column)


def _stacked(chosen: Selection, column: str) -> Ndarray:
    kind = type_of_field(chosen.schema.field(column))
    leaf = _leaf(column, kind)
    whole: Any = None
    start = 0
    missing: list[slice] = []
    for rows, block in _blocks(chosen, column, kind, leaf):
        if block is None:
            missing.append(slice(start, start + rows))
            start += rows
            continue
        if whole is None:
            whole = np.empty((chosen.rows, *block.shape[1:]), block.dtype)
        if block.shape[1:] != whole.shape[1:]:
            raise _different(column, whole.shape[1:], block.shape[1:])
        if isinstance(block, np.ma.MaskedArray) and not isinstance(whole, np.ma.MaskedArray):
            whole = np.ma.masked_array(whole, np.zeros(whole.shape, bool))
        whole[start : start + len(block)] = block
        start += len(block)
    if whole is None and missing:
        raise InputError(f"column {column!r}: none of these rows has an array, so their shape is not known")
    if missing:
        whole = np.ma.masked_array(whole)
    for places in missing:
        whole[places] = np.ma.masked
    found: Ndarray = np.empty(0) if whole is None else whole
    return found


def _leaf(column: str, kind: Type) -> Scalar:
    inner = kind
    while isinstance(inner, List):
        inner = inner.item
    if isinstance(inner, Scalar) and not is_text(inner) and family(inner) in _FAMILIES:
        return inner
    raise InputError(
        f"column {column!r}: expected numbers, or lists or arrays of them, to make one array; run.table() and "
        "run.dataframe() have any values"
    )


def _blocks(chosen: Selection, column: str, kind: Type, leaf: Scalar) -> Iterator[tuple[int, Ndarray | None]]:
    """The numbers of rows, and the rows; ``None`` for them where nothing says what shape they have."""
    for window in chosen.windows():
        for chunk in window[column].chunks:
            if len(chunk):
                shapeless = isinstance(kind, List) and chunk.null_count == len(chunk)
                yield len(chunk), None if shapeless else _block(column, chunk, kind, leaf)


def _block(column: str, values: pa.Array, kind: Type, leaf: Scalar) -> Ndarray:
    """The rows of a chunk; a row that is null is masked."""
    if not isinstance(kind, List):
        scalars: Ndarray = numpy_items(values, leaf)
        return scalars
    present = values.drop_null() if values.null_count else values
    shape, items = [len(present)], present
    inner: Type = kind
    while isinstance(inner, List):
        if inner is not kind and items.null_count:
            raise InputError(f"column {column!r}: expected arrays, got lists with nothing in some places")
        if packed_leaf(inner):
            stacked, shapes = stack(items, leaf)
            if stacked is None:
                raise _different(column, shapes[0], shapes[-1])
            return _among_nulls(stacked.reshape(*shape, *stacked.shape[1:]), values)
        ends, items = flattened(items)
        widths = np.diff(ends)
        if len(widths) and (widths != widths[0]).any():
            raise _different(column, (int(widths.min()),), (int(widths.max()),))
        shape.append(int(widths[0]) if len(widths) else 0)
        inner = inner.item
    return _among_nulls(numpy_items(items, leaf).reshape(shape), values)


def _among_nulls(block: Ndarray, values: pa.Array) -> Ndarray:
    """The rows of ``block`` where ``values`` has any; the others are masked."""
    if not values.null_count:
        return block
    whole: Any = np.ma.empty((len(values), *block.shape[1:]), block.dtype)
    present = values.is_valid().to_numpy(zero_copy_only=False)
    whole[present], whole[~present] = block, np.ma.masked
    masked: Ndarray = whole
    return masked


def _different(column: str, one: Sequence[int], other: Sequence[int]) -> InputError:
    return InputError(
        f"column {column!r}: expected arrays of one shape, got {tuple(one)} and {tuple(other)}: choose indices= of one "
        "shape, or take them one by one with run[i]"
    )


# ---------------------------------------------------------------------------------------------- xarray


def to_xarray(folder: RunFolder, columns: Sequence[str] | None = None) -> xarray.Dataset:
    """The results over the axes of the run's grid, which are the dimensions, by name; parameters that go in step share
    one. What has no result is NaN (integers become floats then) or ``None``. ``InputError`` without xarray."""
    try:
        import xarray
    except ImportError as error:
        raise InputError("this needs xarray: pip install 'ttg-compute[xarray]', or use run.array()") from error
    chosen = select(folder, columns)
    own = OWN_NAMES | set(map(parameter_column, folder.spec.names))
    names = [name for name in chosen.schema.names if columns is not None or name not in own]
    dimensions = _dimensions(space_of(folder))
    variables = {name: _variable(folder, name, dimensions) for name in names}
    coordinates = {
        name: _as_they_are((dimension,), values) if _has_text(values) else (dimension, values)
        for dimension, _, axes in dimensions
        for name, values in axes.items()
    }
    return xarray.Dataset(variables, coordinates, {"run": folder.spec.run, "function": str(folder.spec.function)})


Dimension = tuple[str, int, dict[str, Any]]


def _dimensions(space: Space) -> list[Dimension]:
    """Name, size and coordinates of each factor of a grid; any other space is one dimension."""
    factors = space.factors if isinstance(space, Product) else (space,)
    return [_dimension(factor, alone=len(factors) == 1) for factor in factors]


def axes_of(space: Space) -> list[tuple[str, Any]]:
    """Name and values of each axis, if they are known and none go in step."""
    dimensions = _dimensions(space) if space.computable else []
    alone = all(len(values) == 1 for _, _, values in dimensions)
    return [(name, values[name]) for name, _, values in dimensions] if alone else []


def _dimension(factor: Space, *, alone: bool) -> Dimension:
    values = {parameter_column(name): column for name, column in factor.arrays(np.arange(len(factor))).items()}
    name = next(iter(values)) if len(values) == 1 else "index" if alone else "_".join(values)
    return name, len(factor), values


def _as_they_are(dimensions: tuple[str, ...], values: Ndarray) -> xarray.Variable:
    """xarray would have pandas find a type for objects: one of texts turns ``None`` into NaN, and is for Unicode."""
    import xarray

    return xarray.Variable(dimensions, values, fastpath=True)


def _has_text(values: Ndarray) -> bool:
    return values.dtype.kind == "O" and str in set(map(type, values))


def _variable(folder: RunFolder, name: str, dimensions: Sequence[Dimension]) -> xarray.Variable:
    chosen = select(folder, [name])
    where = np.frombuffer(chosen.indices.to_array(), np.uint64).astype(np.int64)
    try:
        found = _stacked(chosen, name)
    except InputError:
        found = _objects(chosen, name)
    whole = _spread(found, where, folder.spec.size)
    shape = tuple(size for _, size, _ in dimensions)
    extra = tuple(f"{name}_{axis}" for axis in range(whole.ndim - 1))
    named = (*(dimension for dimension, _, _ in dimensions), *extra)
    return _as_they_are(named, whole.reshape(*shape, *whole.shape[1:]))


def _objects(chosen: Selection, name: str) -> Ndarray:
    field = chosen.schema.field(name)
    values = [
        value for window in chosen.windows() for chunk in window[name].chunks for value in column_values(chunk, field)
    ]
    objects = np.empty(len(values), object)
    for place, value in enumerate(values):
        objects[place] = value
    return objects


def _spread(found: Any, where: Ndarray, size: int) -> Ndarray:
    """Each row at its index; NaN, NaT or ``None`` where there is none, and for what is masked. Integers are floats
    then, or objects if some of them are equal to none."""
    if len(found) == size and not np.ma.isMaskedArray(found):
        whole: Ndarray = found
        return whole
    kind = found.dtype.kind
    floats = kind in "iu" and bool((np.abs(np.ma.compressed(found).astype(np.float64)) <= EXACT).all())
    dtype = found.dtype if kind in "fcmMO" else np.float64 if floats else object
    empty: Any = None if dtype is object or kind == "O" else np.array("NaT", dtype) if kind in "mM" else np.nan
    spread = np.full((size, *found.shape[1:]), empty, dtype)
    spread[where] = np.ma.filled(found.astype(dtype), empty)
    return spread
