"""The logistic map as a picture: where ``x → growth·x·(1 − x)`` ends up, for thousands of growth rates.

    ttg run examples/logistic_map.py:attractor growth='linspace(2.8,4,4000)' --workers 2 --out logistic
    python examples/logistic_map.py logistic logistic.png

Every parameter returns the orbit's histogram (a list becomes a list column) and its Lyapunov exponent, positive where
the map is chaotic. The picture needs ``pip install 'ttg-compute[examples]'``.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 800


def attractor(growth: float, orbit: int = 4000, transient: int = 1000) -> dict[str, float | list[int]]:
    """Visits of the orbit to ``BINS`` equal parts of [0, 1] after ``transient`` steps, and the Lyapunov exponent."""
    if not 0 <= growth <= 4:
        raise ValueError(f"expected a growth rate between 0 and 4, got {growth}: the orbit would leave [0, 1]")
    x = 0.5
    for _ in range(transient):
        x = growth * x * (1 - x)
    visited = []
    for _ in range(orbit):
        x = growth * x * (1 - x)
        visited.append(x)
    histogram, _ = np.histogram(visited, bins=BINS, range=(0, 1))
    return {"lyapunov": lyapunov_exponent(growth, np.array(visited)), "visits": histogram.tolist()}


def lyapunov_exponent(growth: float, visited: np.ndarray) -> float:
    """Mean of ``ln |f'(x)|`` along the orbit: how fast two neighbours part, per step. At least -30 (super-stable)."""
    slopes = np.abs(growth * (1 - 2 * visited))
    return float(np.log(np.maximum(slopes, math.exp(-30))).mean())


def draw(run: Path, picture: Path) -> None:
    """Draw the bifurcation diagram over the Lyapunov exponent of a finished run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import pyarrow.parquet as pq

    table = pq.read_table(run / "results").sort_by("index")
    growth = table["growth"].to_numpy()
    visits = np.array(table["visits"].to_pylist(), dtype=float).T
    exponent = table["lyapunov"].to_numpy()

    figure, (above, below) = plt.subplots(
        2, 1, sharex=True, figsize=(12, 8), height_ratios=(4, 1), layout="constrained", facecolor="#0b0e14"
    )
    brightness = np.log1p(visits / visits.max(axis=0) * 200)
    above.imshow(brightness, origin="lower", aspect="auto", extent=(growth[0], growth[-1], 0, 1), cmap="magma")
    above.set_ylabel("x, where the orbit is")
    above.set_title("Logistic map: order, doubling, chaos, and windows of order")
    below.axhline(0, color="#8a8f98", linewidth=0.8)
    below.fill_between(growth, exponent, 0, where=exponent > 0, color="#fb8861", linewidth=0)
    below.fill_between(growth, exponent, 0, where=exponent <= 0, color="#7b6fd0", linewidth=0)
    below.set(ylim=(-1.5, 0.8), ylabel="Lyapunov exponent", xlabel="growth rate")
    for axes in (above, below):
        darken(axes)
    figure.savefig(picture, dpi=120)
    plt.close(figure)


def darken(axes: Axes) -> None:
    """Light text on a dark ground."""
    axes.set_facecolor("#0b0e14")
    axes.tick_params(colors="#c8ccd4")
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color("#e6e8ec")
    for spine in axes.spines.values():
        spine.set_color("#3a3f4b")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("expected two arguments: the run's folder and the PNG to write")
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
