"""``ttg call``: one parameter of a run in this process, as a worker would call it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttg
from ttg.cli import main
from ttg.function import function_from_text
from ttg.options import Options
from ttg.results.folder import link_run
from ttg.run.launch import _folder
from ttg.run.request import new_request
from ttg.seeds import rngs, seed_for
from ttg.settings import read_settings
from ttg.space import Space, grid, rows

CODE = """
import enum
import ttg
class Kind(enum.Enum):
    CALL = 1
def fails(x, seed):
    if x == 2:
        raise ValueError(f"no {x}")
    if x == 3:
        raise SystemExit(7)
    return seed
def draws(x, rng): return rng.random()
def takes(v): return v.name if isinstance(v, Kind) else v * 2
def plain(x): return x
@ttg.vectorized
def columns(x, seed): return x * 2 + seed
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "called_file.py").write_text(CODE)
    return tmp_path


def begun(name: str, space: Space, seed: int = 7) -> Path:
    """The folder of a run that was started, and no more."""
    function = function_from_text(f"called_file.py:{name}", space.names)
    request = new_request(function, space, read_settings(), Options(seed=seed))
    made = _folder(request)
    link_run(made, request.settings.home)
    return made.path


def test_it_calls_with_the_parameters_and_the_seed_of_a_worker(capsys: pytest.CaptureFixture[str]) -> None:
    begun("fails", grid(x=[1, 2, 3]))
    assert main(["call", "last", "0"]) == 0
    seed = seed_for(7, 0)
    said = capsys.readouterr()
    assert re.fullmatch(
        rf"run fails-\S+, parameter 0 of 3\n  x = 1\n"
        rf"  seed = {seed}  \(the function gets seed\)\nreturned int: {seed}\n",
        said.out,
    )
    assert said.err == ""


def test_what_it_raises_is_shown_from_the_users_first_frame_on(capsys: pytest.CaptureFixture[str]) -> None:
    run = begun("fails", grid(x=[1, 2, 3]))
    assert main(["call", str(run), "1"]) == 1
    trace = capsys.readouterr().err
    assert trace.startswith("Traceback (most recent call last):\n")
    assert re.findall(r'File "(.*)", line', trace) == [str(Path("called_file.py").resolve())]
    assert trace.endswith("ValueError: no 2\n")


def test_a_function_that_exits_has_failed_as_it_has_on_a_worker(capsys: pytest.CaptureFixture[str]) -> None:
    begun("fails", grid(x=[1, 2, 3]))
    assert main(["call", "2"]) == 1
    assert capsys.readouterr().err.endswith("SystemExit: 7\n")


def test_the_debugger_opens_where_it_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun("fails", grid(x=[1, 2, 3]))
    monkeypatch.setattr("sys.stdin", io.StringIO("p 'x is', x\nq\n"))
    assert main(["call", "last", "1", "--pdb"]) == 1
    assert "('x is', 2)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "space", "index", "value"),
    [
        ("draws", grid(x=[1, 2, 3]), 1, rngs(7, 1, 2)[0].random()),
        ("takes", rows([{"v": np.arange(3)}, {"v": (1, 2)}]), 0, np.array([0, 2, 4])),
        ("takes", rows([{"v": np.arange(3)}, {"v": (1, 2)}]), 1, (1, 2, 1, 2)),
        ("columns", grid(x=[1, 2, 3]), 2, np.array([6 + seed_for(7, 2)])),
    ],
)
def test_any_space_and_any_kind_of_function(name: str, space: Space, index: int, value: Any) -> None:
    run = ttg.open_run(begun(name, space))
    found = run.call(index)
    assert type(found) is type(value)
    assert np.array_equal(found, value)


def test_a_function_that_changed_is_called_as_it_is_now(capsys: pytest.CaptureFixture[str]) -> None:
    begun("plain", grid(x=[1, 2]))
    Path("called_file.py").write_text(CODE.replace("def plain(x): return x", "def plain(x): return -x"))
    assert main(["call", "last", "1"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("returned int: -2\n")
    assert said.err.count("called_file.py:plain has changed since run plain-") == 1
    assert "--force" not in said.err
    with pytest.warns(UserWarning, match="has changed since"):
        assert ttg.open_run("last").call(1) == -2


def test_an_index_outside_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    begun("plain", grid(x=[1, 2]))
    assert main(["call", "last", "2"]) == 2
    assert "expected the index of a parameter of run plain-" in capsys.readouterr().err


def test_it_works_from_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun("plain", grid(x=[1, 2]))
    (folder / "else").mkdir()
    monkeypatch.chdir(folder / "else")
    assert main(["call", str(Path("..") / run), "1"]) == 0
