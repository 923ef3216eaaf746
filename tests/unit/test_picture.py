"""The picture of a run in a notebook: one or two axes of numbers, and a number among the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from results_fakes import Run

from ttg.results import picture
from ttg.space import grid, linspace, rows, space_to_json


def drawn(tmp_path: Path, space: Any, values: list[Any], done: int | None = None) -> str:
    """The picture of a run whose first results are ``values``."""
    import msgspec

    run = Run(tmp_path / "r", len(space), space)
    run.folder.update(spec=msgspec.structs.replace(run.folder.spec, space=space_to_json(space), names=space.names))
    run = Run(tmp_path / "r", len(space), space)
    run.add(((0, done or len(space)),), values=values)
    run.flush()
    return picture.picture_of(run.folder)


def elements(text: str, name: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(text).findall(  # noqa: S314 - it is ours
        f".//{{http://www.w3.org/2000/svg}}{name}"
    )


def test_one_axis_is_a_curve_from_its_least_to_its_greatest_value(tmp_path: Path) -> None:
    text = drawn(tmp_path, grid(x=linspace(0, 2, 3)), [0.0, 10.0, 5.0])
    (path,) = elements(text, "path")
    assert path.get("d") == "M0.0 220.0 L210.0 0.0 L420.0 110.0"
    assert [found.text for found in elements(text, "text")] == ["result: 0 … 10", "x: 0 … 2"]


def test_what_is_not_there_interrupts_the_curve(tmp_path: Path) -> None:
    text = drawn(tmp_path, grid(x=range(5)), [1.0, 2.0, float("nan"), 4.0], done=4)
    (path,) = elements(text, "path")
    assert [part[0] for part in str(path.get("d")).split()[::2]] == ["M", "L", "M"]


def test_two_axes_are_a_map(tmp_path: Path) -> None:
    text = drawn(tmp_path, grid(x=[1, 2], y=[1, 2, 3]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    cells = [found.get("fill") for found in elements(text, "rect")][:-1]
    assert (len(cells), cells[0], cells[-1]) == (6, "#deebf7", "#08306b")


def test_large_runs_are_drawn_in_part(tmp_path: Path) -> None:
    text = drawn(tmp_path, grid(x=range(100), y=range(90)), [float(i) for i in range(9000)])
    assert len(elements(text, "rect")) == picture.CELLS**2 + 1


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (grid(x=["a", "b"]), [1.0, 2.0]),
        (grid(x=[1, 2]), ["a", "b"]),
        (grid(x=[1, 2]), [float("nan"), float("inf")]),
        (grid(x=[1, 2], y=[1, 2], z=[1, 2]), [1.0] * 8),
        (rows([{"x": 1}, {"x": 2}]), [1.0, 2.0]),
    ],
)
def test_there_is_not_always_something_to_draw(tmp_path: Path, space: Any, values: list[Any]) -> None:
    assert drawn(tmp_path, space, values) == ""
