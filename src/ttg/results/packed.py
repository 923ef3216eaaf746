"""Arrays of several dimensions as their bytes, shape and mask.

Parquet stores every item of a list with levels, and small integers in 32 bits: an image took a hundred times as long as
in a file of NumPy. Vectors stay lists, which every reader of Parquet knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ttg.results.arrow import pa
from ttg.results.kinds import PACKED, Scalar, numpy_dtype

Ndarray = np.ndarray[Any, Any]


def pack(arrays: Sequence[Any], leaf: Scalar) -> Any:
    """A column of arrays (or ``None``) of any shapes with these items."""
    shapes = pa.array([None if array is None else list(array.shape) for array in arrays], pa.list_(pa.int32()))
    data = pa.array([None if array is None else _bytes(array, leaf) for array in arrays], pa.binary())
    masks = pa.array([np.ma.getmaskarray(array).tobytes() if np.ma.is_masked(array) else None for array in arrays])
    nulls = pa.array([array is None for array in arrays], pa.bool_())
    return _struct(shapes, data, masks.cast(pa.binary()), nulls if data.null_count else None)


def pack_rows(whole: Ndarray, leaf: Scalar) -> Any:
    """As :func:`pack`, of the rows of one array, without a look at each."""
    rows, *shape = whole.shape
    if np.ma.is_masked(whole) or not rows:
        return pack(list(whole), leaf)
    data = np.ascontiguousarray(np.asarray(whole), numpy_dtype(leaf))
    ends = np.arange(rows + 1, dtype=np.int32) * (data.nbytes // rows)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data.reshape(-1).view(np.uint8))]
    sizes = pa.ListArray.from_arrays(
        pa.array(np.arange(rows + 1, dtype=np.int32) * len(shape)), pa.array(np.tile(np.array(shape, np.int32), rows))
    )
    return _struct(sizes, pa.Array.from_buffers(pa.binary(), rows, buffers), pa.nulls(rows, pa.binary()), None)


def _struct(shapes: Any, data: Any, masks: Any, nulls: Any) -> Any:
    return pa.StructArray.from_arrays([shapes, data, masks], fields=list(PACKED), mask=nulls)


def _bytes(array: Ndarray, leaf: Scalar) -> bytes:
    fills = isinstance(array, np.ma.MaskedArray) and array.dtype.kind not in "mM"
    plain: Any = np.ma.filled(array, 0) if fills else np.asarray(array)
    return bytes(np.ascontiguousarray(plain, numpy_dtype(leaf)).tobytes())


def unpack(column: Any, leaf: Scalar) -> list[Any]:
    """The arrays of a column, each its own."""
    dtype = np.dtype(numpy_dtype(leaf))
    parts = [column.field(place).to_pylist() for place in range(len(PACKED))]
    return [
        None if data is None else _array(np.frombuffer(data, dtype).reshape(shape), mask)
        for shape, data, mask in zip(*parts, strict=True)
    ]


def _array(shared: Ndarray, mask: bytes | None) -> Any:
    if mask is None:
        return shared.copy()
    return np.ma.masked_array(shared.copy(), np.frombuffer(mask, bool).reshape(shared.shape))


def stack(column: Any, leaf: Scalar) -> tuple[Any, list[tuple[int, ...]]]:
    """All arrays of a column without nulls as one, and the different shapes; ``None`` for the array if several."""
    shapes = sorted(set(map(tuple, column.field(0).to_pylist())))
    if not shapes:
        return np.empty(0, numpy_dtype(leaf)), shapes
    if len(shapes) != 1:
        return None, shapes
    if column.field(2).null_count < len(column):
        return np.ma.stack(unpack(column, leaf)), shapes
    data = column.field(1)
    offsets = np.frombuffer(data.buffers()[1], np.int32)[data.offset : data.offset + len(data) + 1]
    flat = np.frombuffer(data.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return flat.view(numpy_dtype(leaf)).reshape(len(column), *shapes[0]), shapes
