"""Columns as arrays, and the table over the axes of its grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from results_fakes import Run

from ttg.errors import InputError
from ttg.results import arrays, reading
from ttg.results.folder import RunFolder
from ttg.run.saved import Run as Result
from ttg.space import Space, grid, space_to_json, zip_
from ttg.spec import FunctionRef, RunSpec


def written(path: Path, values: list[Any]) -> RunFolder:
    """The values in two parts, of which the first one has the later indices."""
    run = Run(path / "r", len(values))
    half = len(values) // 2
    run.add(((half, len(values)),), values=values[half:])
    run.flush()
    run.add(((0, half),), values=values[:half])
    run.flush()
    run.collector.finalise()
    return run.folder


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3), (0, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "c16", "?", "M8[ns]", "m8[ns]"])
def test_arrays_come_back_as_one(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    whole = np.arange(4 * int(np.prod(shape))).reshape(4, *shape).astype(dtype)
    folder = written(tmp_path, [row.copy() if shape else row[()] for row in whole])
    found = arrays.array(folder, "result")
    assert found.shape == whole.shape
    assert found.dtype == (whole.dtype if dtype != "i2" or shape else np.int16)
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(arrays.array(folder, "result", [3, 1]), whole[[1, 3]])
    np.testing.assert_array_equal(reading.row(folder, 2)["result"], whole[2])


def test_arrays_of_other_dtypes_and_dimensions_meet(tmp_path: Path) -> None:
    values: list[Any] = [
        np.ones((2, 1), "i4"),
        np.ma.masked_array([[1.5, 2.5]], [[True, False]]),
        None,
        np.ones((1, 1), "u1"),
    ]
    folder = written(tmp_path, values)
    found = [row["result"] for row in reading.rows(folder)]
    assert [None if array is None else array.tolist() for array in found] == [[[1], [1]], [[None, 2.5]], None, [[1]]]
    assert {str(array.dtype) for array in found if array is not None} == {"float64"}
    folder = written(tmp_path / "lists", [*values, [[1, 2], [3]]])
    assert reading.row(folder, 0)["result"] == [[1.0], [1.0]]
    folder = written(tmp_path / "deeper", [np.ones((1, 2, 1)), [np.ones((2, 2)), np.ones((1, 1), "f4")]])
    assert [array.tolist() for array in reading.row(folder, 0)["result"]] == [[[1.0], [1.0]]]
    assert [array.shape for array in reading.row(folder, 1)["result"]] == [(2, 2), (1, 1)]


def test_what_is_masked_or_missing_is_masked(tmp_path: Path) -> None:
    rows = [np.ma.masked_array([1, 2], [False, True]), None, np.array([3, 4]), np.array([5, 6])]
    found = arrays.array(written(tmp_path, rows), "result")
    assert found.tolist() == [[1, None], [None, None], [3, 4], [5, 6]]
    assert found.dtype == np.int64


def test_an_array_does_not_depend_on_the_parts(tmp_path: Path) -> None:
    images = [[np.ones((2, 3)), np.zeros((2, 3))], None, None, None]
    for number, rows in enumerate((images, images[::-1])):
        found = arrays.array(written(tmp_path / str(number), rows), "result")
        assert found.shape == (4, 2, 2, 3)
        assert sorted(row.mask.all() for row in found) == [False, True, True, True]
    beside = [np.ma.masked_array([1, 2], [False, True]), np.array([3, 4])]
    alone = written(tmp_path / "masked", [*beside, *beside])
    assert [type(row["result"]) for row in reading.rows(alone)] == [np.ma.MaskedArray, np.ndarray] * 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([np.ones(2), np.ones(3)], r"one shape, got \(2,\) and \(3,\)"),
        ([np.ones((2, 2)), np.ones((1, 2)), np.ones((2, 2)), np.ones((2, 2))], "one shape"),
        (["a", "b"], "expected numbers"),
        ([1, "b"], "expected numbers"),
        ([[1, None], [2]], "one shape"),
        ([[np.ones((2, 2))], [np.ones((1, 2))]], "one shape"),
    ],
    ids=str,
)
def test_what_makes_no_array_is_said(tmp_path: Path, values: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        arrays.array(written(tmp_path, values), "result")


class OnGrid(Run):
    """A run of a real space, whose specification says so."""

    def __init__(self, path: Path, space: Space) -> None:
        names = tuple(space.names)
        spec = RunSpec("r1", FunctionRef("module", "m", "f"), space_to_json(space), len(space), names)
        RunFolder.create(path, spec)
        super().__init__(path, len(space), space)


def test_a_grid_has_its_axes_as_dimensions(tmp_path: Path) -> None:
    run = OnGrid(tmp_path / "r", grid(a=[1, 2], b=["x", "y", "z"]))
    values = [{"v": 10 * index, "image": np.full((2, 2), index), "t": f"t{index}"} for index in range(5)]
    run.add(((0, 5),), values=values, dead=[5])
    run.flush()
    data = Result(run.folder).to_xarray()
    assert dict(data.sizes) == {"a": 2, "b": 3, "image_0": 2, "image_1": 2}
    assert data.v.sel(a=2, b="y").item() == 40.0
    assert np.isnan(data.v.sel(a=2, b="z").item())
    assert data.image.sel(a=1, b="z").values.tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert data.t.values.tolist()[1][:2] == ["t3", "t4"]
    assert data.t.values[1, 2] is None
    assert list(Result(run.folder).to_xarray(["v"])) == ["v"]


def test_what_a_float_or_a_text_of_pandas_cannot_hold_stays_as_it_is(tmp_path: Path) -> None:
    run = OnGrid(tmp_path / "r", grid(a=["\udcff", "b", "c"]))
    run.add(((0, 2),), values=[{"n": 2**60 + 1, "t": "\udcff"}, {"n": 1, "t": "x"}], dead=[2])
    run.flush()
    data = Result(run.folder).to_xarray()
    assert data.n.values.tolist() == [2**60 + 1, 1, None]
    assert data.t.values.tolist() == ["\udcff", "x", None]
    assert data.n.sel(a="\udcff").item() == 2**60 + 1


def test_axes_in_step_share_a_dimension(tmp_path: Path) -> None:
    run = OnGrid(tmp_path / "r", zip_(a=[1, 2], b=[3, 4]) * grid(c=[5, 6]))
    run.add(((0, 4),), values=[0, 1, 2, 3])
    run.flush()
    data = Result(run.folder).to_xarray()
    assert data.result.dims == ("a_b", "c")
    assert data.b.values.tolist() == [3, 4]


def test_a_dataframe_changes_no_value(tmp_path: Path) -> None:
    values = [
        {"i": 2**60 + 1, "m": "a", "c": 1j, "l": [1], "f": float("inf")},
        {"i": None, "m": 0.5, "c": 2j, "l": np.array([1.5]), "f": None},
    ]
    frame = reading.dataframe(written(tmp_path, values), ["l", "i", "m", "c", "f"])
    assert list(frame.columns) == ["l", "i", "m", "c", "f"]
    assert frame["i"].tolist() == [2**60 + 1, pandas.NA]
    assert frame["m"].tolist() == ["a", 0.5]
    assert frame["c"].tolist() == [1j, 2j]
    assert frame["c"].dtype == complex
    assert frame["l"].tolist() == [[1.0], [1.5]]
    assert frame["f"].isna().tolist() == [False, True]
