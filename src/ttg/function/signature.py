"""What a function takes, learned from its syntax tree or from the function itself, and how a space's names fit it."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ttg.errors import FunctionError

INJECTED = ("seed", "rng", "index", "attempt", "workdir")
"""Names a function may ask for without the space giving them: the parameter's own seed, a generator made of it, its
index, which attempt at it this is, counted from 1, and a folder of the call's own, whose files are collected."""

SETUP = "setup"
"""The name of what the run's setup has returned, where the run has one."""


@dataclass(frozen=True)
class Signature:
    """``positional`` includes ``positional_only``; ``text`` is the signature as people read it."""

    text: str
    positional: tuple[str, ...]
    positional_only: frozenset[str]
    keyword_only: tuple[str, ...]
    required: frozenset[str]
    takes_any: bool

    @property
    def named(self) -> tuple[str, ...]:
        """Every parameter with a name."""
        return (*self.positional, *self.keyword_only)

    def wanted(self, names: Sequence[str], offered: Sequence[str] = INJECTED) -> tuple[str, ...]:
        """What is to be injected of what is ``offered``: asked for, and not among the space's own names."""
        return tuple(name for name in offered if name in self.named and name not in names)


@dataclass(frozen=True)
class Binding:
    """How to call a function in the hot loop: ``map(binding.call, *columns)`` with the columns in ``order``.

    ``order`` are the space's names and the ``injected`` ones (of :data:`INJECTED`). ``positional`` says that
    ``call`` is the function itself; otherwise it is an adapter that passes some values by keyword, which takes a little
    longer.
    """

    call: Callable[..., Any]
    order: tuple[str, ...]
    injected: tuple[str, ...]
    positional: bool


def bind(
    function: Callable[..., Any], names: Sequence[str], label: str = "", offered: Sequence[str] = INJECTED
) -> Binding:
    """Fit ``function`` to the names of a space, and to what is ``offered`` besides; a :class:`FunctionError` says which
    names do not fit."""
    label = label or getattr(function, "__name__", type(function).__name__)
    signature = signature_of(function)
    if signature is None:
        return Binding(function, tuple(names), (), True)
    check_fit(signature, names, label, offered)
    injected = signature.wanted(names, offered)
    given = {*names, *injected}
    head = signature.positional[: len(given)]
    if set(head) == given:
        return Binding(function, head, injected, True)
    leading = tuple(name for name in signature.positional if name in given and name in signature.positional_only)
    if leading != signature.positional[: len(leading)]:
        raise FunctionError(f"{label}{signature.text}: {leading[-1]!r} can only be given together with those before it")
    by_keyword = tuple(name for name in (*names, *injected) if name not in leading)
    return Binding(_adapter(function, len(leading), by_keyword), (*leading, *by_keyword), injected, False)


def _adapter(function: Callable[..., Any], leading: int, by_keyword: tuple[str, ...]) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        return function(*values[:leading], **dict(zip(by_keyword, values[leading:], strict=True)))

    return call


def check_fit(signature: Signature, names: Sequence[str], label: str, offered: Sequence[str] = INJECTED) -> None:
    """Raise :class:`FunctionError` if the function does not take one of ``names``, or needs one more."""
    unknown = [] if signature.takes_any else [name for name in names if name not in signature.named]
    given = {*names, *signature.wanted(names, offered)}
    missing = [name for name in signature.named if name in signature.required and name not in given]
    if not unknown and not missing:
        return
    faults = []
    if unknown:
        faults.append(f"it does not take {_quoted(unknown)}{_hint(unknown[0], signature.named)}")
    if missing:
        faults.append(f"it needs {_quoted(missing)}")
    gives = f"the space gives ({', '.join(names)})" if names or offered else "it is called without arguments"
    raise FunctionError(f"{label}{signature.text}: {gives}, but {'; '.join(faults)}")


ASYNC = "{} is async: wrap it in a plain function that calls asyncio.run(…)"
GENERATOR = "{} is a generator function, whose call only makes a generator: return a list of what it yields"


def check_returns(function: Callable[..., Any], label: str) -> None:
    """Raise :class:`FunctionError` for a function whose call computes nothing yet: async, or a generator function."""
    for called in (function, getattr(type(function), "__call__", None)):  # noqa: B004 - also objects with __call__
        if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
            raise FunctionError(ASYNC.format(label))
        if inspect.isgeneratorfunction(called):
            raise FunctionError(GENERATOR.format(label))


def check_tree_returns(node: ast.FunctionDef | ast.AsyncFunctionDef, label: str) -> None:
    """The same from the syntax tree of an undecorated function."""
    if isinstance(node, ast.AsyncFunctionDef):
        raise FunctionError(ASYNC.format(label))
    if _yields(node):
        raise FunctionError(GENERATOR.format(label))


def _yields(node: ast.AST) -> bool:
    """Whether ``node`` itself yields, not a function inside it."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return any(
        isinstance(child, ast.Yield | ast.YieldFrom) or (not isinstance(child, inner) and _yields(child))
        for child in ast.iter_child_nodes(node)
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _hint(name: str, candidates: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, candidates, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """From the function itself; ``None`` for builtins that do not tell."""
    try:
        found = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    kinds = {name: parameter.kind for name, parameter in found.parameters.items()}
    only, usual, keyword = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    named = [name for name, kind in kinds.items() if kind in (only, usual, keyword)]
    return Signature(
        text=str(found),
        positional=tuple(name for name in named if kinds[name] != keyword),
        positional_only=frozenset(name for name in named if kinds[name] == only),
        keyword_only=tuple(name for name in named if kinds[name] == keyword),
        required=frozenset(name for name in named if found.parameters[name].default is inspect.Parameter.empty),
        takes_any=inspect.Parameter.VAR_KEYWORD in kinds.values(),
    )


def signature_of_tree(node: ast.FunctionDef) -> Signature:
    """From the syntax tree of an undecorated function."""
    arguments = node.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    keyword_only = [argument.arg for argument in arguments.kwonlyargs]
    defaults = zip(keyword_only, arguments.kw_defaults, strict=True)
    needed = positional[: len(positional) - len(arguments.defaults)]
    return Signature(
        text=f"({ast.unparse(arguments)})",
        positional=tuple(positional),
        positional_only=frozenset(argument.arg for argument in arguments.posonlyargs),
        keyword_only=tuple(keyword_only),
        required=frozenset([*needed, *(name for name, default in defaults if default is None)]),
        takes_any=arguments.kwarg is not None,
    )
