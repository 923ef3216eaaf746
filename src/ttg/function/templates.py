"""Command lines with placeholders: ``--alpha {alpha}``, ``{x:.3f}``; ``{{`` and ``}}`` are braces."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ttg.errors import FunctionError

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACES = "a placeholder is {NAME} or {NAME:FORMAT}, and a brace is written {{ or }}"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """``{name}``, or ``{name:form}`` with a format of Python's."""

    name: str
    form: str = ""


Piece = str | Placeholder


def pieces_of(argument: str) -> list[Piece]:
    """The texts and placeholders of an argument, in order. Raises ``FunctionError``."""
    found: list[Piece] = []
    end = 0
    for match in _PIECE.finditer(argument):
        found += [argument[end : match.start()], _piece(match, argument)]
        end = match.end()
    return [piece for piece in (*found, argument[end:]) if piece]


def _piece(match: re.Match[str], argument: str) -> Piece:
    if match[0] in ("{{", "}}"):
        return match[0][0]
    name, _, form = (match[1] or "").partition(":")
    if not name.isidentifier():
        raise FunctionError(f"{match[0]!r} in {argument!r} names nothing: {_BRACES}")
    return Placeholder(name, form)


def filled(pieces: Sequence[Piece], values: Mapping[str, Any]) -> str:
    """The argument with the values in it: one argument stays one, whatever they are."""
    return "".join(
        [piece if isinstance(piece, str) else value_text(values[piece.name], piece.form) for piece in pieces]
    )


def value_text(value: Any, form: str = "") -> str:
    """A value as a program reads it: truth as ``true`` and ``false``, nothing as an empty text, bytes as they are,
    lists and dicts as JSON."""
    if form:
        return format(value, form)
    if isinstance(value, str):
        return value if type(value) is str else str(value.value if isinstance(value, Enum) else value)
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "true" if value else "false"
    if isinstance(value, int | float) and not isinstance(value, Enum):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if isinstance(value, Enum):
        return value_text(value.value)
    has_items = isinstance(value, dict | list | tuple) or getattr(value, "shape", None)
    return json.dumps(_plain(value)) if has_items else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value if isinstance(value, str | int | float | None) else str(value)


def shell_line(line: str) -> tuple[str, list[Placeholder]]:
    """A line for ``sh -c`` in which each placeholder is a positional parameter, and what these are, in order.

    The values are never read by the shell, so that whatever stands in them is one word: quotes around a placeholder
    make no difference.
    """
    words: list[Placeholder] = []
    text, quote = "", ""
    for piece in pieces_of(line):
        if isinstance(piece, str):
            quote = _quote_after(piece, quote)
            text += piece
            continue
        words.append(piece)
        text += {"": '"{}"', '"': "{}", "'": "'\"{}\"'"}[quote].format(f"${{{len(words)}}}")
    return text, words


def _quote_after(text: str, quote: str) -> str:
    """The quotes in which what follows ``text`` stands, if that itself begins in ``quote``."""
    escaped = False
    for letter in text:
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
    return quote
