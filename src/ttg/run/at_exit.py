"""What is to end before the interpreter does, in an order that does not depend on what was imported when.

An ordinary ``atexit`` function is called after the threads were waited for, so these are called as those of the
standard executors are, before. That of the thread pool, which asyncio needs until the end, is registered before ours,
and so called after it.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module


class Turn(enum.IntEnum):
    """Who uses others ends before them."""

    CALLS_AND_RUNS = 1
    WORKERS = 2


_functions: list[tuple[Turn, Callable[[], None]]] = []


def at_exit(turn: Turn, function: Callable[[], None]) -> None:
    """Have ``function`` called when its turn comes; every one is, whatever another raises."""
    _functions.append((turn, function))


def _end() -> None:
    with ExitStack() as last_first:
        for _, function in sorted(_functions, key=lambda item: -item[0]):
            last_first.callback(function)


import_module("concurrent.futures.thread")
threading._register_atexit(_end)  # type: ignore[attr-defined]
