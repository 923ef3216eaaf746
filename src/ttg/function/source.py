"""Python sources, found, read and fingerprinted without executing anything of them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
import tokenize
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from ttg.errors import FunctionError


@dataclass(frozen=True)
class Source:
    """A module's text and syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @cached_property
    def code(self) -> str:
        """SHA-256 of the syntax tree: comments, formatting and docstrings do not matter. For other modules that this
        one imports see :mod:`ttg.function.helpers`."""
        digest = hashlib.sha256()
        for token in _tokens(self.tree):
            digest.update(token.encode() + b"\0")
        return digest.hexdigest()

    def definitions(self) -> dict[str, ast.AST]:
        """What binds each name at the top level, also inside ``if`` and ``try``; ``*`` for a star import."""
        found: dict[str, ast.AST] = {}
        pending: deque[ast.AST] = deque(self.tree.body)
        while pending:
            node = pending.popleft()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[node.name] = node
            elif isinstance(node, ast.alias):
                found[node.asname or node.name.partition(".")[0]] = node
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = node
            else:
                pending.extend(ast.iter_child_nodes(node))
        return found


def _tokens(tree: ast.Module) -> Any:
    """The tree in preorder. Empty fields are left out: they are what differs between versions of Python."""
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if not isinstance(node, ast.AST):
            yield f"{type(node).__name__} {node!r}"
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield f"{type(node).__name__}("
            for name, value in reversed(list(ast.iter_fields(node))):
                if value is not None and value != []:
                    stack.append(_End())
                    stack.extend(reversed(value) if isinstance(value, list) else [value])
                    stack.append(name)


class _End:
    def __repr__(self) -> str:
        return ")"


def read_source(path: Path, label: str) -> Source:
    """Raises :class:`FunctionError` if the file cannot be read or is not Python."""
    try:
        with tokenize.open(path) as file:
            text = file.read()
        return Source(path, text, ast.parse(text, str(path)))
    except OSError as error:
        raise FunctionError(f"{label}: cannot be read: {error.strerror}: expected a Python file at {path}") from error
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise FunctionError(f"{label}{line}: is not valid Python: {reason}") from error


def file_of(location: str, cwd: Path) -> Path:
    """Where the file of a function lies: relative to the current folder unless absolute. Links are not followed: one
    mounted from a ConfigMap is a link to a name that changes with every update."""
    return Path(os.path.normpath(cwd / location))


def is_installed(path: Path) -> bool:
    """Whether a path is inside a folder of installed packages."""
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def find_module(name: str, where: Sequence[str]) -> ModuleSpec:
    """Where a module would be imported from, given these folders. Neither it nor its parents are executed."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise FunctionError(f"{name!r} is not a module name: expected FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION")
    parts = name.split(".")
    spec = PathFinder.find_spec(parts[0], where) or _special(parts[0])
    for depth in range(2, len(parts) + 1):
        if spec is None or spec.submodule_search_locations is None:
            break
        spec = PathFinder.find_spec(".".join(parts[:depth]), list(spec.submodule_search_locations))
    if spec is None or spec.name != name:
        here = where[0] if where else "here"
        raise FunctionError(f"module {name!r} was not found from {here}: expected FILE.py:FUNCTION or MODULE:FUNCTION")
    return spec


def _special(name: str) -> ModuleSpec | None:
    """Built-in modules, and what editable installs and the like provide."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def source_of_module(name: str, where: Sequence[str]) -> Source | None:
    """The source of a module; ``None`` for one that has none (built in, compiled)."""
    origin = find_module(name, where).origin
    return read_source(Path(origin), name) if origin and origin.endswith(".py") else None


def source_of(kind: str, location: str, cwd: Path, path: Sequence[str] = ()) -> Source | None:
    """The source of a function in a file or module; ``path`` as in :func:`search_path`."""
    if kind == "file":
        return read_source(file_of(location, cwd), location)
    return source_of_module(location, search_path(kind, location, cwd, path))


def search_path(kind: str, location: str, cwd: Path, path: Sequence[str] = ()) -> list[str]:
    """The folders from which a child imports: that of the function's file, those of the caller's ``path`` (or, where
    nothing is known of it, the current one), and what this process has."""
    own = [str(file_of(location, cwd).parent)] if kind == "file" else []
    return list(dict.fromkeys([*own, *(path or [str(cwd)]), str(cwd), *sys.path]))
