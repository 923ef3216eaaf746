"""From the words of a command line to a space: lists of files, standard input, columns by name."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from ttg.cli import arguments, build_parser
from ttg.cli.run import new_run
from ttg.errors import InputError
from ttg.options import EntryPoint
from ttg.space import parse_space

FUNCTIONS = """
def load(path, scale=1, seed=None): ...
def price(spot, vol, rate=0.1): ...
"""
TABLE = "id,spot,vol,my note\n1,80,0.1,x\n2,nan,0.2,y\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    (tmp_path / "f.py").write_text(FUNCTIONS)
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "u.csv").write_text(TABLE.replace("my note", "note"))
    (tmp_path / "data" / "deep").mkdir(parents=True)
    for name in (b"data/b.csv", b"data/a,1.csv", b"data/\xe4.csv", b"data/deep/c.csv"):
        Path(os.fsdecode(name)).touch()
    return tmp_path


def space(*words: str) -> list[dict[str, Any]]:
    args = build_parser().parse_args(["run", *words])
    return list(new_run(args, arguments.chosen(args, EntryPoint.RUN)).space)


def given(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_files_that_match() -> None:
    found = [row["path"] for row in space("f.py:load", "path=glob(data/*.csv)")]
    assert found == ["data/a,1.csv", "data/b.csv", os.fsdecode(b"data/\xe4.csv")]
    both = space("f.py:load", "path=glob('data/[b]*.csv', data/**/c.csv)", "scale=1,2")
    assert [tuple(row.values()) for row in both] == [
        ("data/b.csv", 1),
        ("data/b.csv", 2),
        ("data/deep/c.csv", 1),
        ("data/deep/c.csv", 2),
    ]


def test_names_that_nul_ends_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, b"a b,c.csv\x00two\nlines.csv\x001\x00\xe4\x00")
    found = [row["path"] for row in space("f.py:load", "--params", "-", "scale=1")]
    assert found == ["a b,c.csv", "two\nlines.csv", "1", os.fsdecode(b"\xe4")]
    Path("files.txt").write_bytes(b"a\x00b\x00")
    with pytest.raises(InputError, match="one value per line; --params - <"):
        space("f.py:load", "--params", "files.txt", "scale=1")


def test_lines_are_the_parameter_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("files.txt").write_bytes(b"data/a,1.csv\n\xe4\n")
    expected = [{"path": "data/a,1.csv"}, {"path": os.fsdecode(b"\xe4")}]
    assert space("f.py:load", "--params", "files.txt") == expected
    given(monkeypatch, Path("files.txt").read_bytes())
    assert space("f.py:load", "--params", "-") == expected
    given(monkeypatch, b"3\n4\n")
    assert space("f.py:price", "vol=0.1", "--params", "-") == [{"spot": 3, "vol": 0.1}, {"spot": 4, "vol": 0.1}]
    given(monkeypatch, b"3\n4\n")
    assert space("f.py:load", "path=a", "--params", "-", "--columns", "scale")[1] == {"scale": 4, "path": "a"}


@pytest.mark.parametrize("text", [b"vol,spot\n0.1,3\n", b'{"spot": 3, "vol": 0.1}\n'])
def test_standard_input_may_be_a_table(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    given(monkeypatch, text)
    assert space("f.py:price", "--params", "-") == [{"spot": 3, "vol": 0.1}]


def test_columns_are_chosen_by_name() -> None:
    first, second = space("f.py:price", "--params", "t.csv", "--columns", "vol,spot")
    assert first == {"vol": 0.1, "spot": 80.0}
    assert second["spot"] != second["spot"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["f.py:price", "--params", "u.csv"],
            r"does not take 'id', 'note': --columns spot,vol takes only those of u\.csv",
        ),
        (["f.py:price", "rate=1", "--params", "u.csv"], "--columns spot,vol takes"),
        (["f.py:price", "--params", "t.csv"], "t.csv: 'my note' cannot be a parameter name.*--columns a,b takes only"),
        (
            ["f.py:price", "--params", "u.csv", "--columns", "spot,volatility"],
            "no column 'volatility'; it has 'id', 'spot'",
        ),
        (["f.py:price", "--params", "u.csv", "--columns", "spot,"], "expected names with commas between them"),
        (["f.py:price", "spot=1", "vol=1", "--columns", "spot"], "give one with --params"),
        (["f.py:price", "--params", "lines.txt"], "say which one parameter they are"),
        (["f.py:load", "path=glob(none/*)"], r"path: glob\(none/\*\): no file matches from this folder, /"),
        (["f.py:load", "path=globe(none/*)"], "did you mean glob"),
    ],
)
def test_what_does_not_fit_is_said(words: list[str], said: str) -> None:
    Path("lines.txt").write_text("1\n")
    with pytest.raises(InputError, match=said):
        space(*words)


def test_an_empty_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, b"")
    with pytest.raises(InputError, match="standard input: has no rows"):
        parse_space([], params_file="-", columns=["x"])
