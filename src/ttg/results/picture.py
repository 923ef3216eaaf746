"""A small picture of a run: a result over the one or two axes of its space, as SVG. For notebooks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ttg.results import arrays
from ttg.results.folder import RunFolder
from ttg.results.rows import space_of
from ttg.results.schema import OWN_NAMES, parameter_column
from ttg.results.selection import select

MOST_ROWS = 100_000
WIDTH, HEIGHT, MARGIN = 420, 220, 28
POINTS, CELLS = 400, 40
STYLE = 'font-family="sans-serif" font-size="11" fill="#555"'

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def picture_of(folder: RunFolder) -> str:
    """SVG; empty where there is nothing to draw: more than two axes, texts, no number among the results, many rows."""
    axes = arrays.axes_of(space_of(folder)) if folder.info.size <= MOST_ROWS else []
    name = _first_number(folder)
    if not 1 <= len(axes) <= 2 or name is None or not all(map(_is_numeric, (values for _, values in axes))):
        return ""
    values = np.full(folder.info.size, np.nan)
    values[arrays.array(folder, "index")] = np.ma.filled(arrays.array(folder, name).astype(float), np.nan)
    if not np.isfinite(values).any():
        return ""
    labels = [label for label, _ in axes]
    if len(axes) == 1:
        return _curve(axes[0][1].astype(float), values, labels[0], name)
    return _map(values.reshape([len(column) for _, column in axes]), labels, name)


def _is_numeric(values: Any) -> bool:
    return values.dtype.kind in "iuf" and len(values) > 1


def _first_number(folder: RunFolder) -> str | None:
    own = {*OWN_NAMES, *map(parameter_column, folder.spec.names)}
    found = (field.name for field in select(folder).schema if field.name not in own and _is_number(field.type))
    return next(found, None)


def _is_number(kind: Any) -> bool:
    from ttg.results.arrow import pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _curve(x: Numbers, y: Numbers, label: str, name: str) -> str:
    """A line through at most :data:`POINTS` points; what is missing interrupts it."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).astype(int))
    across, up = _scaled(x[chosen], 0, WIDTH), _scaled(y[chosen], HEIGHT, 0)
    lines, going = list[str](), False
    for left, top in zip(across, up, strict=True):
        drawn = bool(np.isfinite(top))
        if drawn:
            lines.append(f"{'L' if going else 'M'}{left:.1f} {top:.1f}")
        going = drawn
    path = f'<path d="{" ".join(lines)}" fill="none" stroke="#2166ac" stroke-width="1.5"/>'
    return _framed(path, f"{label}: {x.min():.4g} … {x.max():.4g}", name, y)


def _map(values: Numbers, labels: list[str], name: str) -> str:
    """A cell for each pair, or for some of them: the first axis upwards, the second to the right."""
    rows, columns = (np.linspace(0, size - 1, min(size, CELLS)).astype(int) for size in values.shape)
    shown = values[np.ix_(rows, columns)]
    height, width = HEIGHT / len(rows), WIDTH / len(columns)
    shares = _scaled(shown, 0, 1)
    cells = [
        f'<rect x="{column * width:.1f}" y="{HEIGHT - (row + 1) * height:.1f}" width="{width + 0.5:.1f}" '
        f'height="{height + 0.5:.1f}" fill="{_colour(shares[row, column])}"/>'
        for row, column in np.argwhere(np.isfinite(shown))
    ]
    return _framed("".join(cells), f"{labels[1]} →   {labels[0]} ↑", name, values)


def _scaled(values: Numbers, low: float, high: float) -> Numbers:
    """From least to greatest onto ``low`` to ``high``."""
    finite = np.where(np.isfinite(values), values, np.nan)
    least, most = np.nanmin(finite), np.nanmax(finite)
    scaled: Numbers = low + (finite - least) / ((most - least) or 1.0) * (high - low)
    return scaled


def _colour(share: float) -> str:
    """From light to dark blue."""
    return "#" + "".join(f"{round(light + share * (dark - light)):02x}" for light, dark in _ENDS)


_ENDS = ((222, 8), (235, 48), (247, 107))


def _framed(inside: str, below: str, name: str, values: Numbers) -> str:
    from html import escape

    finite = values[np.isfinite(values)]
    title = escape(f"{name}: {finite.min():.4g} … {finite.max():.4g}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 2 * MARGIN}" height="{HEIGHT + 2 * MARGIN}">'
        f'<g transform="translate({MARGIN},{MARGIN})">{inside}'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>'
        f'<text y="-8" {STYLE}>{title}</text><text y="{HEIGHT + 18}" {STYLE}>{escape(below)}</text></g></svg>'
    )
