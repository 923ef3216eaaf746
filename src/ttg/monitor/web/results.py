"""Results as the dashboard shows them: what it asks of whoever can read them, and which picture suits a space.

The monitor does not read datasets itself: a :class:`ResultsSource` is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ttg.monitor.view import ViewPart

SAMPLE_ROWS = 20_000
POINTS_SHOWN = 4_000
HEAT_BINS = 64
LINE_STEPS = 400


class Column(ViewPart, frozen=True):
    """A column of a run's table. ``role``: ``parameter``, ``result`` or ``about`` (index, seconds, attempt, worker);
    ``numeric``: it can be an axis."""

    name: str
    role: str
    numeric: bool


class Page(ViewPart, frozen=True):
    """Some rows of a run's table, values as JSON knows them, in the order of ``columns``."""

    columns: list[Column]
    rows: list[list[Any]]
    total: int


class ResultsSource(Protocol):
    """Reads and mends runs for the dashboard. Called on threads; raises ``TTGError`` with a line for people."""

    def columns(self, run: str) -> list[Column]:
        """The columns of the run's table; empty while there is none."""

    def page(self, run: str, *, offset: int, limit: int, sort: str, descending: bool) -> Page:
        """Rows ``offset`` to ``offset + limit`` in the order of column ``sort``."""

    def sample(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        """Columns ``names`` of all rows, or of ``limit`` rows drawn at random (always the same) if there are more."""

    def retry(self, run: str, kind: str, error: str, place: str) -> int:
        """Submit the dead letters of this cause again; returns how many parameters."""


class Picture(ViewPart, frozen=True):
    """``kind``: ``line`` (``y`` over ``x``, with ``low`` and ``high`` where several rows share an ``x``), ``scatter``
    (points ``x``, ``y``), ``heat`` (``cells[row of y][column of x]`` is the mean of ``value``), ``none``.

    ``x_name``, ``y_name``, ``value_name`` name the axes; ``note`` says in words what was done.
    """

    kind: str
    note: str
    x_name: str = ""
    y_name: str = ""
    value_name: str = ""
    x: Sequence[float] = ()
    y: Sequence[float] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    cells: Sequence[Sequence[float | None]] = ()


def picture(source: ResultsSource, run: str, value: str = "", across: str = "", up: str = "") -> Picture:
    """The picture of result ``value`` over parameter ``across`` (and ``up``), chosen by the space's shape if left open.

    One varying numeric parameter: a line. Two or more: a heat map over the first two. None: the results against
    each other or against the index, as a scatter.
    """
    columns = source.columns(run)
    results = [column.name for column in columns if column.role == "result" and column.numeric]
    axes = [column.name for column in columns if column.role == "parameter" and column.numeric]
    value = value if value in results else next(iter(results), "")
    if not value:
        return Picture("none", "no numeric result to draw")
    table = {name: _floats(column) for name, column in source.sample(run, [value, "index", *axes], SAMPLE_ROWS).items()}
    varying = [name for name in axes if np.unique(table[name]).size > 1]
    across = across if across in axes else next(iter(varying), "index")
    others = [name for name in varying if name != across]
    up = up if up in axes else next(iter(others), "")
    if across != "index" and up and up != value:
        return _heat(table, across, up, value)
    return _line_or_scatter(table, across, value)


def _floats(column: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if cell is None else float(cell) for cell in column], dtype=np.float64)


def _line_or_scatter(table: dict[str, Any], across: str, value: str) -> Picture:
    """A line if there are few enough different ``across`` to join them, else points."""
    known = np.isfinite(table[across]) & np.isfinite(table[value])
    x, y = table[across][known], table[value][known]
    steps, group = np.unique(x, return_inverse=True)
    if steps.size > LINE_STEPS:
        chosen = slice(None, None, -(-x.size // POINTS_SHOWN))
        note = f"{value} of {x[chosen].size:,} parameters"
        return Picture("scatter", note, across, value, x=x[chosen].tolist(), y=y[chosen].tolist())
    low, high = np.full(steps.size, np.inf), np.full(steps.size, -np.inf)
    np.minimum.at(low, group, y)
    np.maximum.at(high, group, y)
    mean = np.bincount(group, y) / np.bincount(group)
    note = f"{value} over {across}" + ("; mean, lowest and highest" if x.size > steps.size else "")
    return Picture("line", note, across, value, x=steps.tolist(), y=mean.tolist(), low=low.tolist(), high=high.tolist())


def _heat(table: dict[str, Any], across: str, up: str, value: str) -> Picture:
    known = np.isfinite(table[across]) & np.isfinite(table[up]) & np.isfinite(table[value])
    columns, x = _bins(table[across][known])
    rows, y = _bins(table[up][known])
    place = rows * len(x) + columns
    cells = len(x) * len(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(place, table[value][known], cells) / np.bincount(place, minlength=cells)
    grid = [[None if np.isnan(mean) else float(mean) for mean in row] for row in means.reshape(len(y), len(x))]
    note = f"mean {value} over {across} and {up}"
    return Picture("heat", note, across, up, value, x=x, y=y, cells=grid)


def _bins(values: Any) -> tuple[Any, list[float]]:
    """Bin of each value, and the middles of the bins: the values themselves if they are few, else equal steps."""
    distinct, inverse = np.unique(values, return_inverse=True)
    if distinct.size <= HEAT_BINS:
        return inverse, distinct.tolist()
    edges = np.linspace(distinct[0], distinct[-1], HEAT_BINS + 1)
    return np.clip(np.digitize(values, edges) - 1, 0, HEAT_BINS - 1), ((edges[:-1] + edges[1:]) / 2).tolist()
