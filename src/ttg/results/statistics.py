"""Statistics of a column that can be merged: computed per part, added up for the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

from ttg.results.arrow import pa
from ttg.results.kinds import mixed_part, type_of_field, words

Number = int | float


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """``count`` values that are not null, ``nulls`` that are. ``sum``, ``min`` and ``max`` are of numeric columns only;
    like Arrow's, ``min`` and ``max`` pass over NaN while ``sum`` does not."""

    count: int = 0
    nulls: int = 0
    sum: Number | None = None
    min: Number | None = None
    max: Number | None = None

    def merge(self, other: ColumnStatistics) -> ColumnStatistics:
        """The statistics of both together."""
        return ColumnStatistics(
            self.count + other.count,
            self.nulls + other.nulls,
            _both(lambda a, b: a + b, self.sum, other.sum),
            _both(min, self.min, other.min),
            _both(max, self.max, other.max),
        )

    def as_json(self) -> dict[str, Any]:
        """For ``run.json``: with the mean, without what a column has not. Not a number and infinities are null."""
        figures = {name: _finite(value) for name, value in asdict(self).items() if value is not None}
        if self.sum is not None and self.count:
            figures["mean"] = _finite(self.sum / self.count)
        return figures


def describe(values: pa.Array | pa.ChunkedArray) -> ColumnStatistics:
    """The statistics of a column."""
    counted = ColumnStatistics(count=len(values) - values.null_count, nulls=values.null_count)
    if not counted.count or not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return counted
    found = None if values.null_count else _of_numbers(values.to_numpy())
    total, lowest, highest = found or _of_arrow(values)
    return replace(counted, sum=total, min=lowest, max=highest)


def _of_numbers(numbers: Any) -> tuple[Number, Number, Number] | None:
    """Sum and extremes of a NumPy array; ``None`` where Arrow and NumPy differ: about NaN."""
    lowest, highest = numbers.min().item(), numbers.max().item()
    if lowest != lowest:
        return None
    exact = numbers.dtype.kind in "iu" and not _is_wide(len(numbers), lowest, highest)
    return numbers.sum(dtype=None if exact else "f8").item(), lowest, highest


def _of_arrow(values: pa.Array | pa.ChunkedArray) -> tuple[Number, Number, Number]:
    import pyarrow.compute as pc  # takes as long to import as the rest of pyarrow, and most runs do not need it

    found = pc.min_max(values).as_py()
    wide = pa.types.is_integer(values.type) and _is_wide(len(values) - values.null_count, found["min"], found["max"])
    total: Number = pc.sum(values.cast(pa.float64(), safe=False) if wide else values).as_py()
    return total, found["min"], found["max"]


def _is_wide(count: int, lowest: Number, highest: Number) -> bool:
    """Whether a sum of integers might overflow 64 bit: then it is a float."""
    return count * max(abs(lowest), abs(highest)) >= 1 << 63


def _mixed_words(field: pa.Field) -> str:
    found = mixed_part(type_of_field(field))
    return words(found) if found else ""


def of_mixed(schema: pa.Schema) -> dict[str, str]:
    """What columns hold that hold values of several kinds, in words, by name."""
    found = {field.name: _mixed_words(field) for field in schema}
    return {name: told for name, told in found.items() if told}


def merge_all(parts: Iterable[Mapping[str, ColumnStatistics]]) -> dict[str, ColumnStatistics]:
    """The statistics of each column over all parts."""
    merged: dict[str, ColumnStatistics] = {}
    for part in parts:
        for name, found in part.items():
            merged[name] = merged[name].merge(found) if name in merged else found
    return merged


def to_text(statistics: Mapping[str, ColumnStatistics]) -> str:
    """JSON for the footer of a part; unlike ``run.json`` it keeps infinities, so that merging stays right."""
    return json.dumps({name: asdict(found) for name, found in statistics.items()})


def from_text(text: str | bytes) -> dict[str, ColumnStatistics]:
    """The inverse of :func:`to_text`."""
    return {name: ColumnStatistics(**found) for name, found in json.loads(text).items()}


def _both(combine: Any, a: Number | None, b: Number | None) -> Number | None:
    if a is None or b is None:
        return b if a is None else a
    found: Number = combine(a, b)
    return found


def _finite(value: Number) -> Number | None:
    return value if isfinite(value) else None
