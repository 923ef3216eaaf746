"""The report as a picture: ``python -m benchmarks.plot RESULTS.json PICTURE.png``, run by the peers' interpreter."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.peers import LIMIT, OURS
from benchmarks.report import Row, Table, how
from benchmarks.schedule import load_json
from benchmarks.workloads import WORKLOADS

UNITS = {"rate": "parameters/s", "seconds": "s", "efficiency": "of two plain processes", "mib": "MiB"}
COLOURS = {"ours": "#0b7a75", "peer": "#b8b8b8", "limit": "#333333"}
BAR_INCHES = 0.24


def main() -> None:
    source, picture = map(Path, sys.argv[1:])
    table = Table(load_json(source)[1])
    groups = list(dict.fromkeys(row.group for row in table.rows if row.middle))
    rows = [[row for row in table.rows if row.group == group and row.middle] for group in groups]
    heights = [len(each) * BAR_INCHES + 1.0 for each in rows]
    figure, axes = plt.subplots(
        len(groups), 1, figsize=(10, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, group, each in zip(axes[:, 0], groups, rows, strict=True):
        draw(axis, group, each)
    figure.savefig(picture, dpi=110)


def draw(axis: Any, group: tuple[str, int, str], rows: list[Row]) -> None:
    """One group as horizontal bars, longest first, with the spread as a line."""
    name, count, timing = group
    rows = sorted(rows, key=lambda row: row.middle or 0.0)
    middles = [row.middle or 0.0 for row in rows]
    below = [middle - min(row.values) for middle, row in zip(middles, rows, strict=True)]
    above = [max(row.values) - middle for middle, row in zip(middles, rows, strict=True)]
    labels = [f"{row.job.peer} ({how(row.job)})" for row in rows]
    axis.barh(labels, middles, xerr=[below, above], color=[colour(row) for row in rows], height=0.7)
    axis.set_title(f"{name}: {WORKLOADS[name].title} (N = {count:,}, {timing})", loc="left", fontsize=9)
    axis.set_xlabel(UNITS[WORKLOADS[name].metric], fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def colour(row: Row) -> str:
    kind = "ours" if row.job.peer in OURS else "limit" if row.job.peer == LIMIT else "peer"
    return COLOURS[kind]


if __name__ == "__main__":
    main()
