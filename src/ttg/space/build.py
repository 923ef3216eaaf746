"""What users write: ``grid``, ``zip_``, ``sample``, ``rows``, and the axes and distributions that go into them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from ttg.errors import SpaceError
from ttg.space.axes import AnyAxis, Linspace, Logspace, Range, Values, make_axis
from ttg.space.base import Product, Space
from ttg.space.distributions import Choice, Distribution, LogUniform, Normal, Uniform, make_distribution
from ttg.space.kinds import Rows, Sampled, Zipped
from ttg.space.readers import values_of
from ttg.space.values import check_names, plain_values

TRAVEL_LIMIT = 100_000
TRAVEL_BYTES = 1 << 20
"""Listed axes that are longer or larger do not travel in the run's specification; their values go with the tasks."""


def linspace(start: float, stop: float, count: int) -> Linspace:
    """``count`` equidistant floats from ``start`` to ``stop``, both included."""
    return Linspace(_number("linspace", start), _number("linspace", stop), _whole("linspace", count))


def logspace(start: float, stop: float, count: int) -> Logspace:
    """``count`` floats from ``10**start`` to ``10**stop``, both included, equidistant on a log scale (as NumPy's)."""
    return Logspace(_number("logspace", start), _number("logspace", stop), _whole("logspace", count))


def range_(*numbers: int) -> Range:
    """Integers as Python's ``range`` counts them: ``range_(stop)``, ``range_(start, stop)``, ``range_(…, step)``."""
    if not 1 <= len(numbers) <= 3:
        raise SpaceError(
            f"expected range(stop), range(start, stop) or range(start, stop, step), got {len(numbers)} numbers"
        )
    whole = [_whole("range", number) for number in numbers]
    return Range(0, whole[0]) if len(whole) == 1 else Range(*whole)


def choice(*options: Any) -> Choice:
    """One of the options, all equally likely: ``choice("a", "b")`` or ``choice([1, 2, 3])``."""
    return Choice(make_axis(options[0] if len(options) == 1 else options, "choice(…)"))


def uniform(low: float, high: float) -> Uniform:
    """Uniformly distributed floats."""
    return Uniform(_number("uniform", low), _number("uniform", high))


def loguniform(low: float, high: float) -> LogUniform:
    """Floats whose logarithm is uniformly distributed; ``0 < low < high``."""
    return LogUniform(_number("loguniform", low), _number("loguniform", high))


def normal(mean: float, deviation: float) -> Normal:
    """Normally distributed floats."""
    return Normal(_number("normal", mean), _number("normal", deviation))


def glob(*patterns: str) -> Values:
    """The names of files that match, sorted, as text: ``glob("data/*.csv")``; ``**`` is any number of folders."""
    from glob import glob as matching

    names = sorted({name for pattern in patterns for name in matching(pattern, recursive=True)})
    if not names:
        raise SpaceError(f"glob({', '.join(patterns)}): no file matches from this folder, {os.getcwd()}")
    return Values(tuple(names))


def grid(**axes: Any) -> Space:
    """Every combination of the axes' values; the last axis varies fastest. A scalar is an axis of one value.

    >>> list(grid(x=[1, 2], y="a"))
    [{'x': 1, 'y': 'a'}, {'x': 2, 'y': 'a'}]
    """
    check_names(axes)
    factors = [_zipped({name: _axis(name, source)}) for name, source in axes.items()]
    return factors[0] if len(factors) == 1 else Product(factors)


def zip_(**axes: Any) -> Space:
    """The axes' values in step; all axes have the same length.

    >>> list(zip_(x=[1, 2], y=["a", "b"]))
    [{'x': 1, 'y': 'a'}, {'x': 2, 'y': 'b'}]
    """
    check_names(axes)
    return _zipped({name: _axis(name, source) for name, source in axes.items()})


def sample(count: int, /, method: str = "random", seed: int = 0, **distributions: Any) -> Space:
    """``count`` points drawn from ``distributions``; an axis or a list among them is a choice, a scalar a constant.

    ``method``: ``random`` (independent; points do not depend on ``count``), ``lhs`` (Latin hypercube), ``sobol`` (a
    shifted Sobol sequence, at most 21 parameters; best with a power of 2). Equal arguments give equal points,
    everywhere.
    """
    made = {name: make_distribution(source, f"parameter {name!r}") for name, source in distributions.items()}
    return Sampled(_whole("sample", count), method, _whole("seed", seed), made)


def rows(source: Any) -> Space:
    """Parameters one by one, as dicts with the same keys; an iterator is read to its end at once. Also takes a pandas
    DataFrame or an Arrow table. For more rows than memory holds, write a file and use :func:`from_file`.
    """
    if hasattr(source, "to_pylist"):
        return _of_columns(source.column_names, [values_of(column, "rows") for column in source.columns])
    if hasattr(source, "to_dict") and hasattr(source, "iloc"):
        return _of_columns(list(source), [_of_series(source[name]) for name in source])
    items = iter(source)
    first = next(items, None)
    if first is None:
        raise SpaceError("rows(…) got no rows: expected at least one dict of parameters")
    return Rows(_transposed(first, items))


def _of_columns(names: Sequence[str], columns: Sequence[list[Any]]) -> Space:
    if not columns or not columns[0]:
        raise SpaceError("rows(…) got a table without rows: expected at least one")
    named = zip(check_names(names), columns, strict=True)
    return Rows({name: plain_values(column, f"rows, column {name!r}") for name, column in named})


def _of_series(series: Any) -> list[Any]:
    """The values of a column of a DataFrame; what is missing is ``None``, unless it is a float."""
    values: list[Any] = series.tolist()
    if series.dtype.kind == "f":
        return values
    return [None if missing else value for value, missing in zip(values, series.isna().tolist(), strict=True)]


def _transposed(first: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    if not isinstance(first, Mapping):
        raise SpaceError(f"row 0: expected a dict of parameters, got {first!r}")
    columns: dict[str, list[Any]] = {name: [] for name in check_names(first)}
    for number, row in enumerate(chain([first], others)):
        if not isinstance(row, Mapping) or row.keys() != columns.keys():
            raise SpaceError(f"row {number}: expected a dict with the keys {', '.join(columns)}, got {row!r}")
        for name, column in columns.items():
            column.append(row[name])
    return {name: plain_values(column, f"rows, column {name!r}") for name, column in columns.items()}


def _axis(name: str, source: Any) -> AnyAxis:
    if isinstance(source, Distribution):
        raise SpaceError(
            f"{name!r} is a {type(source).__name__.lower()} distribution: say how many points to draw, "
            f"with sample(n, {name}=…), or --sample N on the command line"
        )
    return make_axis(source, f"axis {name!r}")


def _zipped(axes: Mapping[str, AnyAxis]) -> Space:
    space = Zipped(axes)
    if any(isinstance(axis, Values) and _is_heavy(axis) for axis in axes.values()):
        return Rows({name: list(axis.slice(0, len(axis))) for name, axis in axes.items()})
    return space


def _is_heavy(axis: Values) -> bool:
    if len(axis) > TRAVEL_LIMIT:
        return True
    if set(map(type, axis.values)) <= {int, float, bool, type(None)}:
        return False
    return len(msgspec.json.encode(axis.encoded())) > TRAVEL_BYTES


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not hasattr(type(value), "__float__"):
        raise SpaceError(f"{what}(…): expected a number, got {value!r}")
    return float(value)


def _whole(what: str, value: Any) -> int:
    """``value`` as an integer; 1e6 counts as one."""
    if isinstance(value, bool) or not hasattr(type(value), "__float__") or not float(value).is_integer():
        hint = "; for fractions use linspace" if what == "range" else ""
        raise SpaceError(f"{what}(…): expected a whole number, got {value!r}{hint}")
    return int(value)
