"""Which picture a run's results get, and that what has no value is told, not left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from ttg.monitor.web.results import picture
from ttg.monitor.web.source import Column, RunsSource


class Table:
    """Results ``v`` over the space ``x × y``, of which some failed and some are not computed."""

    def __init__(self, rows: list[dict[str, float]], dead: list[dict[str, float]], names: tuple[str, ...]) -> None:
        self.rows, self.given_up, self.names = rows, dead, names

    def columns(self, run: str) -> list[Column]:
        return [*(Column(name, "parameter", "number") for name in self.names), Column("v", "result", "number")]

    def sample(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        return {name: [row.get(name, index) for index, row in enumerate(self.rows)] for name in names}

    def dead(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        return {name: [row[name] for row in self.given_up] for name in names} if self.given_up else {}

    def space(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        cells = [{"x": x, "y": y} for x in (0, 1, 2, 3) for y in (0, 1)]
        return {name: [cell[name] for cell in cells] for name in names}


def drawn(table: Table) -> Any:
    return picture(cast(RunsSource, table), "r")


def test_axes_are_those_of_the_space_and_failed_cells_are_told_from_those_not_computed() -> None:
    rows = [{"x": 0, "y": 0, "v": 1.0}, {"x": 0, "y": 1, "v": math.nan}, {"x": 1, "y": 0, "v": 3.0}]
    rows += [{"x": 1, "y": 1, "v": math.inf}]
    heat = drawn(Table(rows, [{"x": 2, "y": 0}, {"x": 2, "y": 1}], ("x", "y")))
    assert (heat.kind, heat.x, heat.y) == ("heat", [0, 1, 2, 3], [0, 1])
    assert heat.cells == [[1.0, 3.0, None, None], [None, None, None, None]]
    assert heat.marks == [[0, 0, 1, 0], [2, 2, 1, 0]]
    assert heat.note == "mean v over x and y; 2 given up, 1 NaN, 1 infinite"


def test_a_line_says_where_parameters_failed() -> None:
    line = drawn(Table([{"x": 0, "v": 1.0}, {"x": 1, "v": math.nan}], [{"x": 3}], ("x",)))
    assert (line.kind, line.traces[0].x, line.failed) == ("lines", [0], [3])
    assert line.note == "v over x; 1 given up, 1 NaN"


def test_nothing_but_failures_is_a_picture_too() -> None:
    heat = drawn(Table([], [{"x": 0, "y": 0}], ("x", "y")))
    assert heat.marks[0][0] == 1


class Columns:
    """A table of any columns; what is computed is the whole space."""

    def __init__(self, kinds: dict[str, str], rows: dict[str, list[Any]], **dead: list[Any]) -> None:
        self.kinds, self.rows, self.given_up = kinds, rows, dead

    def columns(self, run: str) -> list[Column]:
        return [Column(name, "result" if name == "v" else "parameter", kind) for name, kind in self.kinds.items()]

    def sample(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        return {name: self.rows.get(name, list(range(len(self.rows["v"])))) for name in names}

    def space(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        return self.sample(run, names, limit)

    def dead(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        return self.given_up


def drawn_of(
    kinds: dict[str, str], rows: dict[str, list[Any]], dead: dict[str, list[Any]] | None = None, **of: Any
) -> Any:
    return picture(cast(RunsSource, Columns({**kinds, "v": "number"} | kinds, rows, **dead or {})), "r", **of)


def test_an_axis_is_logarithmic_where_the_space_is() -> None:
    rows = {"x": [10.0**power for power in range(-2, 3)] * 3, "y": [1.0, 2.0, 3.0] * 5, "v": [1.0] * 15}
    heat = drawn_of({"x": "number", "y": "number"}, rows)
    assert (heat.kind, heat.across.scale, heat.up.scale) == ("heat", "log", "linear")
    assert [round(edge / heat.x[0], 6) for edge in heat.x_edges[:2]] == [round(10**-0.5, 6), round(10**0.5, 6)]
    assert heat.y_edges == [0.5, 1.5, 2.5, 3.5]


def test_names_are_an_axis_or_tell_lines_apart() -> None:
    rows = {"x": [0, 0, 1, 1], "name": ["b", "a", "b", "a"], "v": [1.0, 2.0, 3.0, 4.0]}
    lines = drawn_of({"x": "number", "name": "text"}, rows, {"x": [1], "name": ["a"]})
    assert (lines.kind, lines.by, lines.failed) == ("lines", "name", [1.0])
    assert [(trace.label, trace.y) for trace in lines.traces] == [("b", [1.0, 3.0]), ("a", [2.0, 4.0])]
    alone = drawn_of({"name": "text"}, {"name": ["b", "a"], "v": [1.0, 2.0]})
    assert (alone.kind, alone.across.scale, alone.across.labels) == ("lines", "category", ["b", "a"])
    many = {"x": [*range(200)], "name": [f"n{i}" for i in range(200)], "v": [1.0] * 200}
    assert drawn_of({"x": "number", "name": "text"}, many).kind == "lines"


def test_samples_are_coloured_points() -> None:
    rows = {
        "x": [i * 0.7 % 1 for i in range(500)],
        "y": [i * 0.3 % 7 + i for i in range(500)],
        "v": [1.0] * 499 + [math.nan],
    }
    points = drawn_of(
        {"x": "number", "y": "number"}, {**rows, "x": [i / 500 for i in range(500)]}, {"x": [0.5], "y": [3]}
    )
    assert (points.kind, len(points.colour), points.failed, points.failed_y) == ("scatter", 499, [0.5], [3.0])
    assert points.note == "v of 499 points over x and y; 1 given up, 1 NaN"


def test_a_further_axis_is_a_mean_until_it_is_held() -> None:
    cells = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (10, 20)]
    rows = {name: [cell[place] for cell in cells] for place, name in enumerate("xyz")} | {
        "v": [float(c[2]) for c in cells]
    }
    kinds = dict.fromkeys("xyz", "number")
    over_all = drawn_of(kinds, rows)
    assert (over_all.cells[0][0], over_all.further[0].values, over_all.further[0].chosen) == (15.0, ["10", "20"], -1)
    held = drawn_of(kinds, rows, held={"z": 1})
    assert (held.cells[0][0], held.note) == (20.0, "mean v over x and y, z = 20")
    assert drawn_of(kinds, rows, held={"z": 7}).further[0].chosen == -1


def test_arrays_are_curves_whose_gaps_are_told() -> None:
    rows = {"x": [2, 1], "v": [[1.0, None, math.inf], [4.0, 5.0, 6.0]]}
    curves = drawn_of({"x": "number", "v": "curve"}, rows)
    assert [(trace.label, trace.y, trace.shade) for trace in curves.traces] == [
        ("x 1, index 1", [4.0, 5.0, 6.0], 0.0),
        ("x 2, index 0", [1.0, None, None], 1.0),
    ]
    assert curves.note.endswith("; 2 elements are NaN or infinite")
