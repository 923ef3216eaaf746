"""Which picture suits a run's results and its space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from ttg.monitor.view import ViewPart
from ttg.monitor.web.columns import Axis, Numbers, Table, axis_over, read_table
from ttg.monitor.web.source import Column, RunsSource

SAMPLE_ROWS = 20_000
POINTS_SHOWN = 4_000
LINE_STEPS = 400
CURVES_SHOWN, CURVE_POINTS = 24, 400
SERIES_SHOWN = 8


FAILED, NOT_A_NUMBER = 1, 2


class Trace(ViewPart, frozen=True):
    """A line through ``(x, y)``; ``low`` and ``high`` where several rows share an ``x``. ``shade`` (0 to 1) is what
    colours it, where there is an order; a ``y`` that is no number interrupts it."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    shade: float | None = None


class Side(ViewPart, frozen=True):
    """An axis of a picture. ``scale`` is ``linear``, ``log`` or ``category`` (numbers are places in ``labels``)."""

    name: str = ""
    scale: str = "linear"
    labels: Sequence[str] = ()


class Further(ViewPart, frozen=True):
    """An axis that is not drawn: its values in words, and the place of the one that is held (-1: mean over all)."""

    name: str
    values: Sequence[str]
    chosen: int


class Picture(ViewPart, frozen=True):
    """``kind``: ``lines`` (``traces``), ``curves`` (``traces``, each the array of one parameter), ``scatter`` (points
    ``x``, ``y``, coloured by ``colour`` if there is one), ``heat`` (``cells[row of y][column of x]`` is the mean of
    ``value``), ``none``.

    ``across`` and ``up`` are the sides of the picture, which are those of the space, computed or not; ``note`` says in
    words what was done. ``by`` is what tells several traces apart. ``failed`` (and ``failed_y``) are where parameters
    are given up. ``marks`` say of each cell without a value whether parameters of it failed (1) or gave no number (2);
    otherwise it is not computed. The cell ``i`` of ``x`` reaches from ``x_edges[i]`` to the next one. ``axes`` are the
    parameters that can be drawn over.
    """

    kind: str
    note: str
    across: Side = Side()
    up: Side = Side()
    value: str = ""
    by: str = ""
    traces: Sequence[Trace] = ()
    x: Sequence[float] = ()
    y: Sequence[float] = ()
    colour: Sequence[float] = ()
    x_edges: Sequence[float] = ()
    y_edges: Sequence[float] = ()
    cells: Sequence[Sequence[float | None]] = ()
    marks: Sequence[Sequence[int]] = ()
    failed: Sequence[float] = ()
    failed_y: Sequence[float] = ()
    further: Sequence[Further] = ()
    axes: Sequence[str] = ()


@dataclass
class Drawing:
    """What is to be drawn: ``table`` is of the chosen rows, ``axes`` are the parameters that vary, ``across`` and
    ``up`` names among them (or ``index``, and nothing)."""

    table: Table
    axes: Mapping[str, Axis]
    value: str
    across: str
    up: str
    further: Sequence[Further] = ()

    def told(self, note: str) -> str:
        """``note``, what is held, and what of the values cannot be drawn."""
        held = [f"{axis.name} = {axis.values[axis.chosen]}" for axis in self.further if axis.chosen >= 0]
        values = self.table.rows[self.value]
        left_out = {"given up": self.table.dead_count, "NaN": int(np.isnan(values).sum())}
        left_out["infinite"] = int(np.isinf(values).sum())
        counted = [f"{count:,} {what}" for what, count in left_out.items() if count]
        note = f"{note}, {', '.join(held)}" if held else note
        return f"{note}; {', '.join(counted)}" if counted else note

    def side(self, name: str) -> Side:
        """As the page is told."""
        axis = self.axes.get(name)
        return Side(name, axis.scale, axis.labels) if axis else Side(name)


def picture(
    source: RunsSource, run: str, value: str = "", across: str = "", up: str = "", held: Mapping[str, int] | None = None
) -> Picture:
    """The picture of result ``value`` over parameter ``across`` (and ``up``), chosen by the space's shape if left open;
    ``held`` are the places of the values that further parameters are held at.

    One varying parameter: a line. Two or more: a heat map over the first two, lines if one has few names, coloured
    points if they were sampled. None: the results against the index. An array of each parameter: curves.
    """
    columns = source.columns(run)
    results = [column.name for column in columns if column.role == "result" and column.kind in ("number", "curve")]
    value = value if value in results else next(iter(results), "")
    if not value:
        return Picture("none", "no numeric result to draw")
    axes = [column for column in columns if column.role == "parameter" and column.kind in ("number", "text")]
    if next(column.kind for column in columns if column.name == value) == "curve":
        return _curves(source, run, value, axes, across)
    drawing = _drawing(read_table(source, run, value, axes, SAMPLE_ROWS), value, across, up, held or {})
    return replace(_drawn(drawing), axes=_varying(drawing.axes))


def _varying(axes: Mapping[str, Axis]) -> list[str]:
    return [name for name, axis in axes.items() if axis.distinct > 1 and axis.drawable]


def _drawing(table: Table, value: str, across: str, up: str, held: Mapping[str, int]) -> Drawing:
    axes = {name: axis_over(values, table.labels.get(name, ())) for name, values in table.space.items()}
    names = _varying(axes)
    across = across if across in names else next(iter(names), "index")
    up = up if up in names and up != across else next((name for name in names if name != across), "")
    further = []
    for name in names:
        if name not in (across, up):
            place = held.get(name, -1)
            place = place if 0 <= place < len(axes[name].middles) else -1
            further.append(Further(name, axes[name].in_words, place))
            table = table.held(name, axes[name], place) if place >= 0 else table
    return Drawing(table, axes, value, across, up, further)


def _drawn(drawing: Drawing) -> Picture:
    if not drawing.up:
        return _line_or_points(drawing)
    across, up = drawing.axes[drawing.across], drawing.axes[drawing.up]
    if up.scale == "category" and up.distinct <= SERIES_SHOWN and across.scale != "category":
        return _series(drawing)
    if across.is_sampled and up.is_sampled:
        return _coloured_points(drawing)
    return _heat(drawing)


# ------------------------------------------------------------------------------------------------- over one axis


def means(x: Numbers, y: Numbers, axis: Axis | None = None, label: str = "") -> Trace:
    """The mean of ``y`` for each ``x``, or in equal steps of it if there are many."""
    steps, group = np.unique(x, return_inverse=True)
    if steps.size > LINE_STEPS:
        edges = np.linspace(x.min(), x.max(), LINE_STEPS + 1)
        group = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, LINE_STEPS - 1)
        used, group = np.unique(group, return_inverse=True)
        steps = ((edges[:-1] + edges[1:]) / 2)[used]
    low, high = np.full(steps.size, np.inf), np.full(steps.size, -np.inf)
    np.minimum.at(low, group, y)
    np.maximum.at(high, group, y)
    mean = np.bincount(group, y) / np.bincount(group)
    return Trace(label, steps.tolist(), mean.tolist(), low.tolist(), high.tolist())


def _line_or_points(drawing: Drawing) -> Picture:
    """A line if there are few enough different ``across`` to join them, else points."""
    x, y = drawing.table.finite(drawing.across, drawing.value)
    failed = np.unique(drawing.table.failed(drawing.across))[:POINTS_SHOWN].tolist()
    across, up = drawing.side(drawing.across), Side(drawing.value)
    if np.unique(x).size > LINE_STEPS:
        chosen = slice(None, None, -(-x.size // POINTS_SHOWN))
        note = drawing.told(f"{drawing.value} of {x[chosen].size:,} parameters")
        points = {"x": x[chosen].tolist(), "y": y[chosen].tolist()}
        return Picture("scatter", note, across, up, drawing.value, **points, failed=failed)
    trace = means(x, y, label=drawing.value)
    note = f"{drawing.value} over {drawing.across}" + (", mean, lowest and highest" if x.size > len(trace.x) else "")
    return Picture("lines", drawing.told(note), across, up, drawing.value, traces=[trace], failed=failed)


def _series(drawing: Drawing) -> Picture:
    """A line for each of a few names."""
    axis = drawing.axes[drawing.up]
    traces = []
    for place, label in enumerate(axis.labels):
        x, y = drawing.table.held(drawing.up, axis, place).finite(drawing.across, drawing.value)
        traces.append(means(x, y, label=label))
    failed = np.unique(drawing.table.failed(drawing.across))[:POINTS_SHOWN].tolist()
    note = drawing.told(f"mean {drawing.value} over {drawing.across}, by {drawing.up}")
    return Picture(
        kind="lines",
        note=note,
        across=drawing.side(drawing.across),
        up=Side(drawing.value),
        value=drawing.value,
        by=drawing.up,
        traces=traces,
        failed=failed,
        further=drawing.further,
    )


# ------------------------------------------------------------------------------------------------- over two


def _coloured_points(drawing: Drawing) -> Picture:
    table, value = drawing.table, drawing.value
    known = np.isfinite(table.rows[drawing.across]) & np.isfinite(table.rows[drawing.up])
    known &= np.isfinite(table.rows[value])
    x, y, colour = (table.rows[name][known] for name in (drawing.across, drawing.up, value))
    chosen = slice(None, None, max(1, -(-x.size // POINTS_SHOWN)))
    failed, failed_y = (table.failed(name)[:POINTS_SHOWN].tolist() for name in (drawing.across, drawing.up))
    return Picture(
        kind="scatter",
        note=drawing.told(f"{value} of {x[chosen].size:,} points over {drawing.across} and {drawing.up}"),
        across=drawing.side(drawing.across),
        up=drawing.side(drawing.up),
        value=value,
        x=x[chosen].tolist(),
        y=y[chosen].tolist(),
        colour=colour[chosen].tolist(),
        failed=failed,
        failed_y=failed_y,
        further=drawing.further,
    )


def _heat(drawing: Drawing) -> Picture:
    table, (x, y) = drawing.table, (drawing.axes[name] for name in (drawing.across, drawing.up))
    across, up, values = (table.rows[name] for name in (drawing.across, drawing.up, drawing.value))
    placed, finite = np.isfinite(across) & np.isfinite(up), np.isfinite(values)
    counts = _counted(x, y, across[placed & finite], up[placed & finite])
    sums = _counted(x, y, across[placed & finite], up[placed & finite], values[placed & finite])
    nameless = _counted(x, y, across[placed & ~finite], up[placed & ~finite])
    failed = _counted(x, y, table.dead[drawing.across], table.dead[drawing.up]) if table.dead else np.zeros_like(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        grid = sums / counts
    marks = np.where(counts > 0, 0, np.where(failed > 0, FAILED, np.where(nameless > 0, NOT_A_NUMBER, 0)))
    return Picture(
        kind="heat",
        note=drawing.told(f"mean {drawing.value} over {drawing.across} and {drawing.up}"),
        across=drawing.side(drawing.across),
        up=drawing.side(drawing.up),
        value=drawing.value,
        x=x.middles,
        y=y.middles,
        x_edges=x.outline,
        y_edges=y.outline,
        cells=[[None if np.isnan(mean) else float(mean) for mean in row] for row in grid],
        marks=marks.astype(int).tolist(),
        further=drawing.further,
    )


def _counted(x: Axis, y: Axis, across: Numbers, up: Numbers, amounts: Numbers | None = None) -> Numbers:
    """How many of the points are in each cell, or the sum of their ``amounts``."""
    cells = len(x.middles) * len(y.middles)
    places = y.places(up) * len(x.middles) + x.places(across)
    counted = np.bincount(places, amounts, cells).astype(np.float64)
    return counted.reshape(len(y.middles), len(x.middles))


# ------------------------------------------------------------------------------------------------- arrays


def _curves(source: RunsSource, run: str, value: str, axes: Sequence[Column], across: str) -> Picture:
    """Of some parameters, spread over the first axis, by which they are coloured."""
    names = [column.name for column in axes]
    found = source.sample(run, [value, "index", *names], CURVES_SHOWN)
    numeric = [column.name for column in axes if column.kind == "number" and len(set(found[column.name])) > 1]
    across = across if across in numeric else next(iter(numeric), "index")
    rows = sorted(zip(found[across], found["index"], found[value], strict=True), key=lambda row: row[:2])
    rows = [row for row in rows if row[2]]
    low, high = (rows[0][0], rows[-1][0]) if rows else (0, 0)
    traces, missing = [], 0
    for at, index, array in rows:
        y = np.array([np.nan if cell is None else cell for cell in array], dtype=np.float64)
        missing += int((~np.isfinite(y)).sum())
        x = np.unique(np.linspace(0, y.size - 1, min(y.size, CURVE_POINTS)).astype(int))
        label = f"{across} {at:,.6g}" + (f", index {index:,}" if across != "index" else "")
        shade = (at - low) / ((high - low) or 1)
        traces.append(Trace(label, x.tolist(), [float(one) if np.isfinite(one) else None for one in y[x]], shade=shade))
    note = f"{value} of {len(traces)} parameters, coloured by {across}"
    note += f"; {missing:,} elements are NaN or infinite" if missing else ""
    return Picture("curves", note, Side("element"), Side(value), value, across, traces)
