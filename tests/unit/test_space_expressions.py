"""Axes and spaces as written on a command line."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg.errors import SpaceError
from ttg.space import grid, linspace, parse_axis, parse_space, sample, uniform, zip_
from ttg.space.axes import Linspace, Logspace, Range
from ttg.space.distributions import Choice, LogUniform, Normal, Uniform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linspace(80,120,1000)", Linspace(80.0, 120.0, 1000)),
        ("linspace(0, 1, 1e6)", Linspace(0.0, 1.0, 1_000_000)),
        ("logspace(-3,2,6)", Logspace(-3.0, 2.0, 6)),
        ("range(50)", Range(0, 50)),
        (" range( 0 , 50 , 5 ) ", Range(0, 50, 5)),
        ("range(1_000_000)", Range(0, 1_000_000)),
        ("uniform(0,1)", Uniform(0.0, 1.0)),
        ("loguniform(1e-3,1)", LogUniform(1e-3, 1.0)),
        ("normal(-1,.5)", Normal(-1.0, 0.5)),
    ],
)
def test_functions(text: str, expected: Any) -> None:
    assert parse_axis(text) == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1,0.2,0.3", [0.1, 0.2, 0.3]),
        ("1, 2", [1, 2]),
        ("1,2.5", [1.0, 2.5]),
        ("call,put", ["call", "put"]),
        ("true,FALSE,none", [True, False, None]),
        ("'a,b',\"c d\",'1'", ["a,b", "c d", "1"]),
        ("it's,x", ["it's", "x"]),
        ("'it\\'s'", ["it's"]),
        ("''", [""]),
        ("007,1.2.3", ["007", "1.2.3"]),
        ("[1, 2],[3]", [[1, 2], [3]]),
        ("(2, 3), (4,)", [(2, 3), (4,)]),
        ("1,inf", [1.0, float("inf")]),
        ('{"k": [1, "a,b"]}', [{"k": [1, "a,b"]}]),
        ("data/x.csv", ["data/x.csv"]),
        ("-5", [-5]),
    ],
)
def test_lists(text: str, values: list[Any]) -> None:
    axis: Any = parse_axis(text)
    assert [(type(value), value) for value in axis.slice(0, len(axis))] == [(type(value), value) for value in values]


def test_choice() -> None:
    axis = parse_axis("choice(a, 'b,c', d)")
    assert isinstance(axis, Choice)
    assert list(axis.axis.slice(0, 3)) == ["a", "b,c", "d"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty value"),
        ("1,,2", "'1,,2' has an empty value"),
        ("linspce(0,1,5)", "unknown function 'linspce'.*did you mean linspace"),
        ("eval(1)", "unknown function 'eval'"),
        ("linspace(0,1)", r"expected linspace\(start, stop, count\), got 'linspace\(0,1\)'"),
        ("linspace(0,1,0)", r"at least 1 \(in 'linspace\(0,1,0\)'\)"),
        ("range()", "expected range"),
        ("range(0,1,0.1)", "whole number, got 0.1"),
        ("range(a)", "got 'a'"),
        ("'a", "a quote is not closed"),
        ("[1,2", "a bracket is not closed"),
        ("linspace(0,1,5),3", "neither a value nor a function by itself"),
        ("1e999", "no float can be 1e999: write inf"),
        ("(1,2", "a bracket is not closed"),
        ("(1+x)", "cannot read"),
        ("99999999999999999999", "64 bits"),
        ("'a'b", "cannot read"),
    ],
)
def test_bad_expressions_are_named(text: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        parse_axis(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_an_axis_or_a_space_error(text: str) -> None:
    with contextlib.suppress(SpaceError):
        assert parse_axis(text)


def test_spaces() -> None:
    assert parse_space(["x=linspace(0,1,3)", "k=a,b"]) == grid(x=linspace(0, 1, 3), k=["a", "b"])
    assert parse_space(["x=1,2", "k=a,b"], zip=True) == zip_(x=[1, 2], k=["a", "b"])
    sampled = parse_space(["x=uniform(0,1)", "k=a,b"], sample=8, method="lhs", seed=3)
    assert sampled == sample(8, "lhs", 3, x=uniform(0, 1), k=["a", "b"])
    assert parse_space(["url=http://h/?a=b"])[0] == {"url": "http://h/?a=b"}


def test_a_file_and_axes_make_a_product(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a\n1\n2\n")
    assert list(parse_space([], params_file=path)) == [{"a": 1}, {"a": 2}]
    assert [tuple(item.values()) for item in parse_space(["b=x,y"], params_file=path)] == [
        (1, "x"),
        (1, "y"),
        (2, "x"),
        (2, "y"),
    ]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ([], {}, "no parameters given"),
        (["x"], {}, "expected name=values, got 'x'"),
        (["1x=3"], {}, "'1x' cannot be a parameter name"),
        (["x=1", "x=2"], {}, "'x' is given twice"),
        (["x=1,,2"], {}, "x: '1,,2'"),
        (["x=1,2", "y=1"], {"zip": True}, "x has 2, y has 1"),
        (["x=uniform(0,1)"], {}, "--sample N"),
        (["x=1"], {"zip": True, "sample": 3}, "exclude each other"),
        ([], {"sample": 3, "params_file": "rows.csv"}, "needs parameters to draw"),
        (["x=1"], {"sample": 3, "method": "halton"}, "unknown sampling method"),
    ],
)
def test_bad_command_lines(arguments: list[str], options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        parse_space(arguments, **options)
