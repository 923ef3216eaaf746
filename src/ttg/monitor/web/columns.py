"""Columns of a run as numbers for pictures: what is computed, the whole space, and what is given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ttg.monitor.web.source import Column, RunsSource

BINS = 64
"""Of an axis with more values than this, and the most names that can be an axis."""

LOG_FROM = 8.0
"""How far apart an axis's ends are, as a ratio, before it may be logarithmic."""

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Axis:
    """The values of a parameter that vary, as cells: one for each value, or equal steps where there are many.

    ``outline`` are the edges of the cells, one more than ``middles``; ``scale`` is ``linear``, ``log`` or ``category``.
    """

    scale: str
    distinct: int
    middles: Sequence[float]
    outline: Sequence[float]
    labels: Sequence[str] = ()

    def places(self, values: Numbers) -> Any:
        """The number of the cell of each of ``values``."""
        return np.searchsorted(np.asarray(self.outline[1:-1]), values, side="right")

    @property
    def drawable(self) -> bool:
        """Names beyond a few are no axis."""
        return not self.labels or self.distinct <= BINS

    @property
    def is_sampled(self) -> bool:
        """Whether there are so many values that points tell more than cells."""
        return not self.labels and self.distinct > BINS

    @property
    def in_words(self) -> list[str]:
        """Each cell."""
        return list(self.labels) or [f"{middle:,.6g}" for middle in self.middles]


def axis_over(values: Numbers, labels: Sequence[str] = ()) -> Axis:
    """The axis of these values; with ``labels`` they are places among those."""
    if labels:
        places = list(range(len(labels)))
        return Axis("category", len(labels), places, [place - 0.5 for place in (*places, len(labels))], labels)
    distinct = np.unique(values[np.isfinite(values)])
    if not distinct.size:
        return Axis("linear", 0, [], [0.0, 1.0])
    scale = "log" if _is_logarithmic(distinct) else "linear"
    there, back = (np.log, np.exp) if scale == "log" else (np.asarray, np.asarray)
    at = there(distinct)
    if distinct.size > BINS:
        edges = np.linspace(at[0], at[-1], BINS + 1)
        return Axis(scale, distinct.size, back((edges[:-1] + edges[1:]) / 2).tolist(), back(edges).tolist())
    inner = (at[:-1] + at[1:]) / 2
    first, last = (inner[0] - at[0], at[-1] - inner[-1]) if inner.size else (0.5, 0.5)
    edges = np.concatenate(([at[0] - first], inner, [at[-1] + last]))
    return Axis(scale, distinct.size, distinct.tolist(), back(edges).tolist())


def _is_logarithmic(distinct: Numbers) -> bool:
    """Whether the middle one of the values is where a logarithmic axis has its middle."""
    low, high = distinct[0], distinct[-1]
    if distinct.size < 3 or low <= 0 or high / low < LOG_FROM:
        return False
    middle = np.log(np.median(distinct))
    return bool(abs(middle - np.log(low * high) / 2) < abs(middle - np.log((low + high) / 2)))


@dataclass(frozen=True)
class Table:
    """Of one run: ``rows`` that have results, and the parameters of the ``space`` (or of a sample of it) and of those
    that are ``dead``. Texts are places among the ``labels`` of their parameter."""

    rows: Mapping[str, Numbers]
    space: Mapping[str, Numbers]
    dead: Mapping[str, Numbers]
    labels: Mapping[str, Sequence[str]]

    @property
    def dead_count(self) -> int:
        """How many are given up."""
        return next(iter(self.dead.values())).size if self.dead else 0

    def held(self, name: str, axis: Axis, place: int) -> Table:
        """Only where the parameter is in one cell of its axis."""

        def within(columns: Mapping[str, Numbers]) -> dict[str, Numbers]:
            if name not in columns:
                return dict(columns)
            chosen = np.isfinite(columns[name]) & (axis.places(columns[name]) == place)
            return {other: values[chosen] for other, values in columns.items()}

        return replace(self, rows=within(self.rows), dead=within(self.dead))

    def finite(self, across: str, value: str) -> tuple[Numbers, Numbers]:
        """Both columns, where both are numbers."""
        x, y = self.rows[across], self.rows[value]
        known = np.isfinite(x) & np.isfinite(y)
        return x[known], y[known]

    def failed(self, name: str) -> Numbers:
        """The parameter of those that are given up."""
        values = self.dead.get(name, np.empty(0))
        return values[np.isfinite(values)]


def read_table(source: RunsSource, run: str, value: str, axes: Sequence[Column], limit: int) -> Table:
    """At most about ``limit`` rows of each, drawn at random where there are more."""
    names = [column.name for column in axes]
    rows = dict(source.sample(run, [value, "index", *names], limit))
    space = dict(source.space(run, names, limit)) or {name: rows[name] for name in names}
    dead = dict(source.dead(run, names, limit))
    labels = {column.name: _labels(space[column.name]) for column in axes if column.kind == "text"}

    def numbers(found: Mapping[str, Sequence[Any]]) -> dict[str, Numbers]:
        return {name: _numbers(cells, labels.get(name)) for name, cells in found.items()}

    return Table(numbers(rows), numbers(space), numbers(dead), labels)


def _labels(cells: Sequence[Any]) -> Sequence[str]:
    """In the order in which they come."""
    return list(dict.fromkeys(map(str, cells)))


def _numbers(cells: Sequence[Any], labels: Sequence[str] | None) -> Numbers:
    if labels is None:
        return np.array([np.nan if cell is None else float(cell) for cell in cells], dtype=np.float64)
    place = {label: number for number, label in enumerate(labels)}
    return np.array([place.get(str(cell), np.nan) for cell in cells], dtype=np.float64)
