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
        return [*(Column(name, "parameter", True) for name in self.names), Column("v", "result", True)]

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
    assert (line.kind, line.x, line.failed, line.note) == ("line", [0], [3], "v over x; 1 given up, 1 NaN")


def test_nothing_but_failures_is_a_picture_too() -> None:
    heat = drawn(Table([], [{"x": 0, "y": 0}], ("x", "y")))
    assert heat.marks[0][0] == 1
