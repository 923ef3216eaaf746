"""From NumPy arrays to Arrow arrays, whole: no item becomes a Python object."""

from __future__ import annotations

from typing import Any

import numpy as np

from ttg.results.arrow import pa

_WIDER: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(np.float16): np.dtype(np.float32),
    np.dtype(np.longdouble): np.dtype(np.float64),
}
"""Floats that Arrow or Parquet's readers do not all know."""

Ndarray = np.ndarray[Any, Any]


def array_of_ndarray(values: Ndarray) -> pa.Array | None:
    """An Arrow array with one item per row, by the rules of :mod:`ttg.results.encode`, which apply to each item where
    this returns ``None``. It may share the memory of ``values``."""
    if not values.ndim or not values.size:
        return None
    if values.ndim > 1:
        return _lists(values)
    if values.dtype.names:
        return _struct({name: values[name] for name in values.dtype.names})
    if values.dtype.kind == "c":
        return _struct({"real": values.real, "imag": values.imag})
    if values.dtype.kind in "mM":
        return pa.array(values.astype(f"{values.dtype.kind}8[us]"))
    if values.dtype.kind in "biufU":
        native: np.dtype[Any] = _WIDER.get(values.dtype, values.dtype.newbyteorder("="))
        return pa.array(values.astype(native, copy=False))
    return None


def _lists(values: Ndarray) -> pa.Array | None:
    items = array_of_ndarray(values.reshape(-1))
    for width in reversed(values.shape[1:]):
        if items is not None:
            items = pa.ListArray.from_arrays(np.arange(0, len(items) + 1, width, dtype=np.int32), items)
    return items


def _struct(fields: dict[str, Ndarray]) -> pa.Array | None:
    arrays = [array_of_ndarray(field) for field in fields.values()]
    if any(array is None for array in arrays):
        return None
    return pa.StructArray.from_arrays(arrays, names=list(fields))
