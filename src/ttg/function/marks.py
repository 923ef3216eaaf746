"""``@ttg.vectorized``: how a function says that it takes whole columns, and how that is seen without running it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ttg.errors import FunctionError
from ttg.function.source import Source, source_of
from ttg.spec import FunctionRef

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__ttg_vectorized__"
_NAME = "vectorized"


def vectorized(function: F) -> F:
    """Mark ``function`` as taking whole columns: a run calls it with NumPy arrays, one item per parameter.

    It returns as many results: an array or a list, or a dict, dataclass or named tuple of them, one column each. A row
    must depend on nothing but its own parameters; how many come in one call changes from call to call. The arrays are
    the function's own, to be changed in place if it likes. Called by hand, it is the function it was.
    """
    if not callable(function):
        raise FunctionError(f"ttg.vectorized: expected a function, got {function!r}")
    try:
        setattr(function, _MARK, True)
    except (AttributeError, TypeError) as error:
        raise FunctionError(
            f"ttg.vectorized: {function!r} cannot be marked: wrap it in a function, or run it with vectorized=True "
            "(--vectorized)"
        ) from error
    return function


def is_vectorized(function: Any) -> bool:
    """Whether ``function``, or what it is a ``partial`` of, was marked."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, _MARK, False) is True


def is_marked(ref: FunctionRef, cwd: Path | None = None) -> bool:
    """Whether the source of ``ref`` shows the mark. Marks that only running it reveals are seen in the child."""
    if ref.kind not in ("file", "module"):
        return False
    source = source_of(ref.kind, ref.location, (cwd or Path.cwd()).resolve())
    node = source.definitions().get(ref.name) if source else None
    return bool(source and isinstance(node, ast.FunctionDef) and any(marks(source, node)))


def marks(source: Source, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    """Those decorators of a function that are ours, under whatever name it was imported."""
    names = set(_names(source.tree))
    return [decorator for decorator in node.decorator_list if ast.unparse(decorator) in names]


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"{alias.asname or 'ttg'}.{_NAME}" for alias in node.names if alias.name == "ttg")
        elif isinstance(node, ast.ImportFrom) and node.module == "ttg" and not node.level:
            yield from (alias.asname or _NAME for alias in node.names if alias.name == _NAME)
