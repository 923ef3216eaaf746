"""The function of a run that was begun by a TTG whose specifications had version 2."""

from typing import Any


def f(x: int, day: Any, note: Any, seed: int) -> str:
    """Tells what it was given."""
    if x == 3:
        raise ValueError("three")
    return f"{x} {day!r} {note!r} {seed}"
