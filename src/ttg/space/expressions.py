"""Axes and spaces as they are written on a command line: ``spot='linspace(80,120,1000)' vol=0.1,0.2 kind=call,put``.

Nothing is evaluated: an expression is a call of one of the known functions, or a list of values separated by commas.
A value is a number, ``true``, ``false``, ``none``, quoted text, a JSON-like list or dict, or any other word as text.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from ttg.errors import SpaceError
from ttg.space.axes import AnyAxis, make_axis
from ttg.space.base import Space
from ttg.space.build import choice, glob, grid, linspace, logspace, loguniform, normal, range_, uniform, zip_
from ttg.space.distributions import AnyDistribution, make_distribution
from ttg.space.files import opened
from ttg.space.kinds import Sampled
from ttg.space.readers import kind_of
from ttg.space.values import check_names, checked_integer

FUNCTIONS: dict[str, tuple[Callable[..., AnyAxis | AnyDistribution], str, range]] = {
    "linspace": (linspace, "linspace(start, stop, count)", range(3, 4)),
    "logspace": (logspace, "logspace(start, stop, count), the first two as powers of 10", range(3, 4)),
    "range": (range_, "range(stop), range(start, stop) or range(start, stop, step)", range(1, 4)),
    "uniform": (uniform, "uniform(low, high)", range(2, 3)),
    "loguniform": (loguniform, "loguniform(low, high)", range(2, 3)),
    "normal": (normal, "normal(mean, deviation)", range(2, 3)),
    "choice": (choice, "choice(a, b, …)", range(1, 1_000_000)),
}
GLOB = "glob"
_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*\((.*)\)\s*", re.DOTALL)
_CONSTANTS = {"true": True, "false": False, "none": None, "null": None}
_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "'\""


def parse_axis(text: str) -> AnyAxis | AnyDistribution:
    """One expression. Raises :class:`SpaceError` with the offending text."""
    call = _CALL.fullmatch(text)
    if call is None:
        return make_axis([_literal(part, text) for part in _split(text)], repr(text))
    name, inner = call.groups()
    if name == GLOB:
        return glob(*(part.strip().strip(_QUOTES) for part in _split(inner)))
    if name not in FUNCTIONS:
        known = [*FUNCTIONS, GLOB]
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        raise SpaceError(f"unknown function {name!r} in {text!r}: {hint} (Quote it if you mean text.)")
    function, usage, counts = FUNCTIONS[name]
    arguments = [_literal(part, text) for part in _split(inner)] if inner.strip() else []
    if len(arguments) not in counts:
        raise SpaceError(f"expected {usage}, got {text!r}")
    try:
        return function(*arguments)
    except SpaceError as error:
        raise SpaceError(f"{error} (in {text!r})") from error


def parse_space(
    assignments: Sequence[str],
    *,
    zip: bool = False,
    params_file: str | os.PathLike[str] | None = None,
    columns: Sequence[str] | None = None,
    sample: int | None = None,
    method: str = "random",
    seed: int = 0,
) -> Space:
    """The space of a command line: ``name=expression`` as a grid, in step (``zip``), or sampled (``sample`` points of
    the given method, lists being choices). With a ``params_file`` (``-``: standard input), each of its rows, or of its
    ``columns``, is combined with each of these.
    """
    axes = _parse_assignments(assignments)
    if zip and sample is not None:
        raise SpaceError("--zip and --sample exclude each other: a sample has no order to go in step with")
    if sample is not None and not axes:
        raise SpaceError("--sample needs parameters to draw, for example x='uniform(0,1)'")
    if columns and params_file is None:
        raise SpaceError("--columns chooses among the columns of a file: give one with --params")
    if not axes and params_file is None:
        raise SpaceError("no parameters given: expected name=values, for example x=1,2,3 or x='linspace(0,1,11)'")
    if not axes and params_file is not None:
        return opened(params_file, columns)
    if sample is not None:
        space: Space = Sampled(
            sample, method, seed, {name: make_distribution(axis, name) for name, axis in axes.items()}
        )
    else:
        space = zip_(**axes) if zip else grid(**axes)
    return space if params_file is None else opened(params_file, columns) * space


def _parse_assignments(assignments: Sequence[str]) -> dict[str, AnyAxis | AnyDistribution]:
    pairs = [assignment.partition("=") for assignment in assignments]
    for name, equals, _ in pairs:
        if not equals:
            raise SpaceError(f"expected name=values, got {name!r}")
    if pairs:
        check_names(name.strip() for name, _, _ in pairs)
    return {name.strip(): _parse_named(name.strip(), expression) for name, _, expression in pairs}


def _parse_named(name: str, expression: str) -> AnyAxis | AnyDistribution:
    try:
        return parse_axis(expression)
    except SpaceError as error:
        raise SpaceError(f"{name}: {error}") from error


def _split(text: str) -> Iterator[str]:
    """The parts of ``text`` between commas that are neither quoted nor in brackets."""
    part, depth, quote = "", 0, ""
    for character in text:
        if character == "," and not depth and not quote:
            yield part
            part = ""
            continue
        if quote:
            quote = "" if character == quote and not part.endswith("\\") else quote
        elif character in _QUOTES and (depth or not part.strip()):
            quote = character
        else:
            depth += (character in _OPENING) - (character in _CLOSING)
        part += character
    if quote or depth:
        raise SpaceError(f"{text!r}: {'a quote' if quote else 'a bracket'} is not closed, or one too many is")
    yield part


def _literal(part: str, text: str) -> Any:
    word = part.strip()
    if not word:
        raise SpaceError(f"{text!r} has an empty value: write none, or '' in quotes for empty text")
    if word.lower() in _CONSTANTS:
        return _CONSTANTS[word.lower()]
    if word[0] in _QUOTES or word[0] in _OPENING:
        return _python_or_json(word, text)
    kind = kind_of(word.replace("_", "") if re.fullmatch(r"[+-]?\d+(_\d+)+", word) else word)
    if kind == "huge":
        raise SpaceError(f"{text!r}: no float can be {word}: write inf, or quote it if you mean the text")
    if kind == "float":
        return float(word)
    if kind == "int" or re.fullmatch(r"[+-]?[1-9]\d*", word):
        return checked_integer(int(word), repr(text))
    if any(bracket in word for bracket in "()"):
        raise SpaceError(
            f"{text!r}: {word!r} is neither a value nor a function by itself: quote it if you mean the text"
        )
    return word


def _python_or_json(word: str, text: str) -> Any:
    try:
        return msgspec.json.decode(word)
    except msgspec.DecodeError:
        pass
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise SpaceError(f"{text!r}: cannot read {word!r}: expected quoted text, a list, a tuple or a dict") from error
