"""Which picture suits a run's results and its space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ttg.monitor.view import ViewPart
from ttg.monitor.web.source import RunsSource

SAMPLE_ROWS = 20_000
POINTS_SHOWN = 4_000
HEAT_BINS = 64
LINE_STEPS = 400


FAILED, NOT_A_NUMBER = 1, 2

Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Picture(ViewPart, frozen=True):
    """``kind``: ``line`` (``y`` over ``x``, with ``low`` and ``high`` where several rows share an ``x``), ``scatter``
    (points ``x``, ``y``), ``heat`` (``cells[row of y][column of x]`` is the mean of ``value``), ``none``.

    ``x_name``, ``y_name``, ``value_name`` name the axes, which are those of the space, computed or not; ``note``
    says in words what was done. ``failed`` are the ``x`` of parameters that are given up. ``marks`` say of each cell
    without a value whether parameters of it failed (1) or gave no number (2); otherwise it is not computed.
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
    marks: Sequence[Sequence[int]] = ()
    failed: Sequence[float] = ()


def picture(source: RunsSource, run: str, value: str = "", across: str = "", up: str = "") -> Picture:
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
    space = {name: _floats(column) for name, column in source.space(run, axes, SAMPLE_ROWS).items()} or table
    dead = {name: _floats(column) for name, column in source.dead(run, axes, SAMPLE_ROWS).items()}
    varying = [name for name in axes if np.unique(space[name]).size > 1]
    across = across if across in axes else next(iter(varying), "index")
    others = [name for name in varying if name != across]
    up = up if up in axes else next(iter(others), "")
    if across != "index" and up and up != value:
        return _heat(table, space, dead, across, up, value)
    return _line_or_scatter(table, dead, across, value)


def _floats(column: Sequence[Any]) -> Numbers:
    return np.array([np.nan if cell is None else float(cell) for cell in column], dtype=np.float64)


def _told(note: str, values: Numbers, failed: int) -> str:
    """``note``, and what of the values cannot be drawn."""
    infinite = int(np.isinf(values).sum())
    left_out = {"given up": failed, "NaN": int(np.isnan(values).sum()), "infinite": infinite}
    told = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
    return f"{note}; {told}" if told else note


def _line_or_scatter(table: dict[str, Numbers], dead: dict[str, Numbers], across: str, value: str) -> Picture:
    """A line if there are few enough different ``across`` to join them, else points."""
    known = np.isfinite(table[across]) & np.isfinite(table[value])
    x, y = table[across][known], table[value][known]
    failed = np.unique(dead[across][np.isfinite(dead[across])])[:POINTS_SHOWN] if across in dead else np.empty(0)
    lost = next(iter(dead.values())).size if dead else 0
    steps, group = np.unique(x, return_inverse=True)
    if steps.size > LINE_STEPS:
        chosen = slice(None, None, -(-x.size // POINTS_SHOWN))
        note = _told(f"{value} of {x[chosen].size:,} parameters", table[value], lost)
        return Picture(
            "scatter", note, across, value, x=x[chosen].tolist(), y=y[chosen].tolist(), failed=failed.tolist()
        )
    low, high = np.full(steps.size, np.inf), np.full(steps.size, -np.inf)
    np.minimum.at(low, group, y)
    np.maximum.at(high, group, y)
    mean = np.bincount(group, y) / np.bincount(group)
    note = f"{value} over {across}" + (", mean, lowest and highest" if x.size > steps.size else "")
    note = _told(note, table[value], lost)
    return Picture(
        kind="line",
        note=note,
        x_name=across,
        y_name=value,
        x=steps.tolist(),
        y=mean.tolist(),
        low=low.tolist(),
        high=high.tolist(),
        failed=failed.tolist(),
    )


def _heat(
    table: dict[str, Numbers], space: dict[str, Numbers], dead: dict[str, Numbers], across: str, up: str, value: str
) -> Picture:
    x, y = _Axis.over(space[across]), _Axis.over(space[up])
    finite = np.isfinite(table[value])
    placed = np.isfinite(table[across]) & np.isfinite(table[up])
    counts = _counted(x, y, table[across][placed & finite], table[up][placed & finite])
    sums = _counted(x, y, table[across][placed & finite], table[up][placed & finite], table[value][placed & finite])
    nameless = _counted(x, y, table[across][placed & ~finite], table[up][placed & ~finite])
    failed = _counted(x, y, dead[across], dead[up]) if dead else np.zeros_like(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / counts
    marks = np.where(counts > 0, 0, np.where(failed > 0, FAILED, np.where(nameless > 0, NOT_A_NUMBER, 0)))
    grid = [[None if np.isnan(mean) else float(mean) for mean in row] for row in means]
    note = _told(f"mean {value} over {across} and {up}", table[value], dead[across].size if dead else 0)
    return Picture(
        "heat", note, across, up, value, x=x.middles, y=y.middles, cells=grid, marks=marks.astype(int).tolist()
    )


class _Axis:
    """Bins along one axis: the values themselves if they are few, else equal steps."""

    def __init__(self, edges: Numbers, middles: list[float]) -> None:
        self.edges, self.middles = edges, middles

    @classmethod
    def over(cls, values: Numbers) -> _Axis:
        distinct = np.unique(values[np.isfinite(values)])
        if distinct.size <= HEAT_BINS:
            return cls((distinct[:-1] + distinct[1:]) / 2, distinct.tolist())
        edges = np.linspace(distinct[0], distinct[-1], HEAT_BINS + 1)
        return cls(edges[1:-1], ((edges[:-1] + edges[1:]) / 2).tolist())

    def places(self, values: Numbers) -> Any:
        return np.searchsorted(self.edges, values, side="right")


def _counted(x: _Axis, y: _Axis, across: Numbers, up: Numbers, amounts: Numbers | None = None) -> Numbers:
    """How many of the points are in each cell, or the sum of their ``amounts``."""
    cells = len(x.middles) * len(y.middles)
    places = y.places(up) * len(x.middles) + x.places(across)
    counted = np.bincount(places, amounts, cells).astype(np.float64)
    return counted.reshape(len(y.middles), len(x.middles))
