"""From one type to a wider one: columns of different batches become one column, without a value changing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ttg.results.arrow import pa
from ttg.results.cells import cell_of
from ttg.results.kinds import (
    NULL,
    List,
    Record,
    Scalar,
    Type,
    arrow_type,
    family,
    is_text,
    joined,
    numpy_dtype,
    packed_leaf,
    with_arrays,
    without_arrays,
)
from ttg.results.packed import pack, unpack
from ttg.results.values import arrays_of_lists, as_float, conformed, flattened, values_of

Typed = tuple[Type, Any]
EXACT = 1 << 53
"""Every integer up to here is a float."""


def unified(columns: Sequence[Typed]) -> tuple[Type, list[Any]]:
    """One type for the arrays of all ``columns``, and the arrays in it."""
    target = joined(kind for kind, _ in columns)
    while True:
        widened = [widen(array, kind, target) for kind, array in columns]
        wider = joined((target, *(kind for kind, _ in widened)))
        if wider == target:
            return target, [array for _, array in widened]
        target = wider


def merged(rows: int, groups: Iterable[tuple[Sequence[int], Typed]]) -> Typed:
    """A column of ``rows`` rows from groups of them, each with the places where its rows belong; others are null."""
    groups = list(groups)
    kind, arrays = unified([column for _, column in groups])
    order = np.full(rows, -1)
    order[np.concatenate([places for places, _ in groups])] = np.arange(sum(map(len, arrays)))
    return kind, pa.concat_arrays(arrays).take(pa.array(order, mask=order < 0))


def widen(array: Any, source: Type, target: Type) -> Typed:
    """``array`` of type ``source`` as ``target``, which is no narrower; or as a type that is still wider, when it turns
    out that ``target`` cannot hold the values."""
    if source == target:
        return target, array
    if source == NULL:
        return target, pa.nulls(len(array), arrow_type(target))
    if is_text(target):
        return target, cells(values_of(array, source), target)
    if isinstance(source, List) and isinstance(target, List):
        packs = _packs(source) or _packs(target)
        return _widen_arrays(array, source, target) if packs else _widen_lists(array, source, target)
    if isinstance(source, Record) and isinstance(target, Record):
        return _widen_records(array, source, target)
    assert isinstance(target, Scalar)
    if family(target) == "number":
        return _widen_numbers(array, source, target)
    return _cast(array, source, target)


def cells(values: Iterable[Any], kind: Type) -> Any:
    """A column of text from values of a type that is stored so."""
    return pa.array([cell_of(conformed(value, kind)) for value in values], pa.string())


def _cast(array: Any, source: Type, target: Scalar) -> Typed:
    if target.name.startswith("complex"):
        parts = [array.field(place).cast(pa.float64()) for place in (0, 1)]
        return target, pa.StructArray.from_arrays(parts, fields=list(arrow_type(target)), mask=array.is_null())
    try:
        return target, array.cast(arrow_type(target))
    except pa.ArrowInvalid:
        return widen(array, source, Scalar(f"{target.name.partition(':')[0]}:wide"))


def _widen_numbers(array: Any, source: Type, target: Scalar) -> Typed:
    if is_text(source):  # big integers beside floats
        floats = [None if value is None else as_float(value) for value in values_of(array, source)]
        exact = not any(isinstance(value, int) for value in floats)
        return (target, pa.array(floats, pa.float64())) if exact else widen(array, source, Scalar("number"))
    if target.name == "float64" and pa.types.is_integer(array.type):
        floats, exact = _floats(array)
        return (target, floats) if exact else widen(array, source, Scalar("number"))
    try:
        return target, array.cast(arrow_type(target))
    except pa.ArrowInvalid:  # a negative number beside one of more than 63 bit
        return widen(array, source, Scalar("bigint"))


def _floats(array: Any) -> tuple[Any, bool]:
    """Integers as floats, and whether they are equal to them."""
    floats = array.cast(pa.float64(), safe=False)
    if not len(array) or array.null_count == len(array):
        return floats, True
    numbers = array.drop_null().to_numpy()
    if numbers.min() >= -EXACT and numbers.max() <= EXACT:
        return floats, True
    return floats, not any(isinstance(as_float(number), int) for number in numbers.tolist())


def _widen_lists(array: Any, source: List, target: List) -> Typed:
    ends, flat = flattened(array)
    item, items = widen(flat, source.item, target.item)
    return List(item, target.array), lists(ends, items, array)


def _packs(kind: Type) -> bool:
    return bool(packed_leaf(kind)) or (isinstance(kind, List) and _packs(kind.item))


def _widen_arrays(array: Any, source: List, target: List) -> Typed:
    """By way of lists: it is rare that arrays of different kinds meet."""
    found, widened = widen(_as_lists(array, source), without_arrays(source), without_arrays(target))
    kind = with_arrays(found, target)
    return kind, _as_stored(widened, kind)


def _as_lists(array: Any, kind: Type) -> Any:
    """A column of lists with everything packed in it as lists."""
    if leaf := packed_leaf(kind):
        return nested_lists(unpack(array, leaf), leaf, depth_of(kind))
    if isinstance(kind, List):
        ends, flat = flattened(array)
        return lists(ends, _as_lists(flat, kind.item), array)
    return array


def _as_stored(array: Any, kind: Type) -> Any:
    """The inverse."""
    if leaf := packed_leaf(kind):
        nulls = array.is_null().to_pylist()
        values = arrays_of_lists(array, kind, leaf)
        return pack([None if null else value for null, value in zip(nulls, values, strict=True)], leaf)
    if isinstance(kind, List):
        ends, flat = flattened(array)
        return lists(ends, _as_stored(flat, kind.item), array)
    return array


def depth_of(kind: Type) -> int:
    """The number of lists in each other."""
    return 1 + depth_of(kind.item) if isinstance(kind, List) else 0


def nested_lists(arrays: Sequence[Any], leaf: Scalar, depth: int) -> Any:
    """A column of lists in each other from arrays of ``depth`` dimensions; masked items are null."""
    known = [array for array in arrays if array is not None]
    empty = np.empty(0, numpy_dtype(leaf))
    concatenate: Any = np.ma.concatenate
    items = concatenate([empty, *(array.reshape(-1) for array in known)])
    found = nested([array.shape for array in known] or [(0,) * depth], _leaves(items, leaf))
    places = np.cumsum([array is not None for array in arrays], dtype=int) - 1
    return found.take(pa.array(places, mask=np.array([array is None for array in arrays], bool)))


def nested(shapes: Sequence[Sequence[int]], items: Any) -> Any:
    """A column of lists in each other, of arrays of these ``shapes``, whose items follow each other in ``items``."""
    for axis in range(len(shapes[0]) - 1, -1, -1):
        # How many lists each array has at this level, and how long these are.
        counts = [int(np.prod(shape[:axis], dtype=int)) for shape in shapes]
        sizes = np.repeat([shape[axis] for shape in shapes], counts)
        items = lists(np.concatenate([[0], np.cumsum(sizes)]), items)
    return items


def _leaves(items: Any, leaf: Scalar) -> Any:
    mask, data = np.ma.getmaskarray(items), np.asarray(items.data)
    if data.dtype.kind != "c":
        return pa.array(data, mask=mask)
    parts = [pa.array(np.ascontiguousarray(half)) for half in (data.real, data.imag)]
    return pa.StructArray.from_arrays(parts, fields=list(arrow_type(leaf)), mask=pa.array(mask))


def lists(ends: Any, items: Any, like: Any = None) -> Any:
    """A column of lists; null where ``like`` is."""
    mask = like.is_null() if like is not None and like.null_count else None
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items, mask=mask)


def _widen_records(array: Any, source: Record, target: Record) -> Typed:
    places = {name: (place, kind) for place, (name, kind) in enumerate(source.fields)}
    found = {}
    for name, kind in target.fields:
        place, inner = places.get(name, (None, NULL))
        values = pa.nulls(len(array)) if place is None else array.field(place)
        found[name] = widen(values, inner, kind)
    return records(found, array.is_null() if array.null_count else None, len(array))


def records(columns: dict[str, Typed], nulls: Any, rows: int) -> Typed:
    """A column of records from those of its fields; ``nulls`` says which rows have no record at all."""
    kind = Record(tuple((name, inner) for name, (inner, _) in columns.items()))
    if not columns:
        empty: list[Any] = [None if nulls is not None and nulls[row].as_py() else {} for row in range(rows)]
        return kind, cells(empty, kind)
    arrays = [array for _, array in columns.values()]
    return kind, pa.StructArray.from_arrays(arrays, fields=list(arrow_type(kind)), mask=nulls)
