"""What a program's standard output says: the row of its parameter."""

from __future__ import annotations

import json
import re
from typing import Any

from ttg.function.spawning import Tail

OUTPUTS = ("auto", "text", "json", "none")
KEPT_BYTES = {"auto": 8 << 20, "text": 8 << 20, "json": 8 << 20, "none": 4_000}
"""Of the output, in memory; more than that as a text, as JSON or in the last line cannot be a result."""

_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+")
_SHOWN = 200


class UnusableOutput(ValueError):
    """The program has ended well, but what it wrote is not what was said that it writes."""


def result_of(output: str, tail: Tail) -> Any:
    """A dict for the columns that a JSON object says, or else the result. Raises :class:`UnusableOutput`."""
    if output == "none":
        return None
    if output == "auto":
        return _of_last_line(tail)
    if tail.is_cut:
        raise UnusableOutput(
            f"expected at most {KEPT_BYTES[output] >> 20} MiB on standard output, got more: "
            "let it write to a file, or with --output auto end with a line that is the result"
        )
    text = tail.text()
    return text.removesuffix("\n") if output == "text" else _of_json(text, tail)


def _of_last_line(tail: Tail) -> Any:
    line, is_whole = tail.last_line()
    if not is_whole:
        raise UnusableOutput(
            f"expected a last line of at most {KEPT_BYTES['auto'] >> 20} MiB on standard output, got a longer one: "
            "let it write to a file and end with its name, or give --output none"
        )
    if line.startswith("{"):
        try:
            return json.loads(line)
        except ValueError:
            return line
    if not _NUMBER.fullmatch(line):
        return line or None
    return int(line) if _WHOLE.fullmatch(line) and len(line) < 4_000 else float(line)


def _of_json(text: str, tail: Tail) -> Any:
    """All of it, or its last line: what a program says before its result need not be JSON."""
    for candidate in (text, tail.last_line()[0]):
        try:
            return json.loads(candidate)
        except ValueError as error:
            reason = error
    shown = tail.last_line()[0][:_SHOWN]
    raise UnusableOutput(f"expected JSON on standard output, got {shown!r} as its last line: {reason}")
