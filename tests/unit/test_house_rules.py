"""Rules about the code itself: files and functions stay small, nothing is left for later, tests do not sleep."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LEFT_FOR_LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")

# Where a test may sleep: helpers that poll a condition, workloads that take time on purpose, and virtual time.
MAY_SLEEP = re.compile(r"(waiting|polling|workloads?|conftest)\w*\.py$|^tests/simulation/")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines of a function's body, its docstring apart."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_stay_small(path: Path) -> None:
    lines = sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    assert lines <= LONGEST_FILE, f"{relative(path)} has {lines} lines (limit {LONGEST_FILE}): what is its second job?"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_functions_stay_small(path: Path) -> None:
    long = {function.name: length(function) for function in functions(path) if length(function) > LONGEST_FUNCTION}
    assert not long, f"{relative(path)}: functions over {LONGEST_FUNCTION} lines: {long}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_is_left_for_later(path: Path) -> None:
    found = LEFT_FOR_LATER.findall(path.read_text(encoding="utf-8"))
    assert not found, f"{relative(path)} leaves work for later: {found}"


def sleeps(path: Path) -> list[int]:
    """Lines that sleep: ``time.sleep`` and ``asyncio.sleep`` of anything but 0 (which only yields)."""
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    sleepers = [call for call in calls if re.search(r"\b(time|asyncio)\.sleep$|^sleep$", ast.unparse(call.func))]
    return [call.lineno for call in sleepers if ast.unparse(call) != "asyncio.sleep(0)"]


@pytest.mark.parametrize("path", [path for path in TESTS if not MAY_SLEEP.search(relative(path))], ids=relative)
def test_tests_wait_for_moments_not_for_a_while(path: Path) -> None:
    found = sleeps(path)
    assert not found, f"{relative(path)} sleeps in lines {found}: wait for a named moment or poll a condition"
