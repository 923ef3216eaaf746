"""What vectorised calls return: whole columns, which stay columns up to the payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ttg.results.plain import Numbers

RESULT = "result"

Column = np.ndarray[Any, Any] | list[Any]


class Batches:
    """The columns of a task's calls so far. A single column of plain numbers needs no Arrow, like scalar results."""

    def __init__(self, *, packs: bool = True) -> None:
        self._packs = packs
        self._numbers = Numbers()
        self._parts: list[Any] = []
        self._bytes = 0

    @property
    def count(self) -> int:
        rows: int = sum(part.num_rows for part in self._parts)
        return self._numbers.count + rows

    @property
    def row_bytes(self) -> float:
        return self._bytes / max(self.count, 1)

    def take(self, result: Any, count: int) -> None:
        """Add what a call for ``count`` parameters returned. ``ValueError`` or ``TypeError`` if it is not columns."""
        columns = columns_of(result, count)
        only = columns.get(RESULT) if self._packs and len(columns) == 1 else None
        if type(only) is np.ndarray and self._numbers.take_array(only):
            self._bytes += only.nbytes
            return
        from ttg.results.batches import batch_of  # imports Arrow, which many runs never need

        # Copied, because a function may use its arrays again for the next batch.
        part = batch_of({name: column.copy() for name, column in columns.items()})
        self._unpack()
        self._parts.append(part)
        self._bytes += part.nbytes

    def _unpack(self) -> None:
        self._packs = False
        if self._numbers.count:
            from ttg.results.encode import decode_payload

            self._parts = [decode_payload(self._numbers.payload())]
            self._numbers = Numbers()

    def payload(self, seconds: Sequence[float] | None, parameters: Mapping[str, Sequence[Any]]) -> bytes:
        if self._numbers.count:
            return self._numbers.payload(seconds)
        from ttg.results.batches import encode_batches

        return encode_batches(self._parts, seconds, parameters)

    def drop(self, position: int) -> None:
        self._unpack()
        self._parts = [*self._slices(0, position), *self._slices(position + 1, self.count)]

    def keep(self, rows: int) -> None:
        self._unpack()
        self._parts = self._slices(0, rows)

    def _slices(self, start: int, stop: int) -> list[Any]:
        slices, begin = [], 0
        for part in self._parts:
            first, last = max(start - begin, 0), min(stop - begin, part.num_rows)
            if first < last:
                slices.append(part.slice(first, last - first))
            begin += part.num_rows
        return slices


def columns_of(result: Any, count: int) -> dict[str, Column]:
    """The columns of what a vectorised function returned for ``count`` parameters, each checked for its length."""
    named = _named_columns(result)
    if not named:
        raise ValueError("expected at least one column from a vectorized function, got none")
    return {name: _column(name, column, count) for name, column in named.items()}


def _named_columns(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        return dict(result)
    if is_dataclass(result):
        return {field.name: getattr(result, field.name) for field in fields(result)}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return dict(zip(result._fields, result, strict=True))
    if isinstance(result, np.ndarray) and result.dtype.names:
        return {name: result[name] for name in result.dtype.names}
    # Tables of Arrow, pandas and Polars are asked for their columns by name.
    names = getattr(result, "column_names", None) or getattr(result, "columns", None)
    return {RESULT: result} if names is None else {name: result[name] for name in names}


def _column(name: str, column: Any, count: int) -> Column:
    values = column if isinstance(column, (np.ndarray, list)) else _as_array(name, column)
    single = isinstance(values, np.ndarray) and not values.ndim
    if single or len(values) != count:
        got = "a single value" if single else f"{len(values)} values"
        raise ValueError(f"expected a column of {count} values for {name!r} from a vectorized function, got {got}")
    return values


def _with_nulls(column: Any) -> list[Any] | None:
    """The values of a column of Arrow, pandas or Polars in which some are missing, of which NumPy would make NaN."""
    nulls = getattr(column, "null_count", None)
    if nulls is not None:
        listed = getattr(column, "to_pylist", None) or column.to_list
        return list(listed()) if (nulls() if callable(nulls) else nulls) else None
    if not hasattr(column, "isna") or isinstance(column.dtype, np.dtype):
        return None
    missing = np.asarray(column.isna())
    values = zip(missing, column.tolist(), strict=True)
    return [None if null else value for null, value in values] if missing.any() else None


def _as_array(name: str, column: Any) -> Column:
    if (listed := _with_nulls(column)) is not None:
        return listed
    if hasattr(column, "__array__") or isinstance(column, (bool, int, float, complex, str)):
        return np.asarray(column)
    raise TypeError(
        f"expected an array or a list for {name!r} from a vectorized function, or a dict, dataclass or named tuple of "
        f"them, got {type(column).__name__}"
    )
