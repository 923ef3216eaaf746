"""``ttg.map``: the values of a function, in order, as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ttg.calls.executor import Executor

AHEAD = 1000


def map(
    function: Callable[..., Any], *iterables: Iterable[Any], buffersize: int = AHEAD, **options: Any
) -> Iterator[Any]:
    """``map(function, *iterables)`` on all cores, in order. It begins at once, and is at most ``buffersize`` calls
    ahead of what was asked for, so ``iterables`` may be endless.

    The first call that fails raises in its place, as :class:`ttg.Executor` has it, and nothing comes behind it. What
    has not begun is withdrawn when the iterator is closed. ``options`` are those of :class:`ttg.Executor`; inside
    :func:`ttg.workers` its workers are used.
    """
    executor = Executor(**options)
    values = _values(executor, lambda: executor.map(function, *iterables, buffersize=buffersize))
    next(values)
    return values


def _values(executor: Executor, begin: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    complete = False
    try:
        values = begin()  # whatever becomes of this, be it that ``iterables`` raise, the executor ends
        yield
        yield from values
        complete = True
    finally:
        executor.shutdown(wait=complete, cancel_futures=True)
