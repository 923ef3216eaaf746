"""An event loop in which time passes only when nothing else can happen: an hour in a moment, the same each time.

Threads do not exist here: what is given to one is executed by :attr:`VirtualLoop.in_thread`, at once and in order.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


TURN_SECONDS = 1e-6
"""What one turn of the loop costs, so that nobody can wait for a moment that floating point never reaches."""


class Stuck(AssertionError):
    """Everybody waits for somebody else, for ever."""


class _Clock(selectors.SelectSelector):
    """A selector that never waits: where a real one would sleep, it moves the clock."""

    now = 0.0
    end = 3_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck(f"at {self.now:.3f} s nothing is left that could ever happen")
        self.now += max(TURN_SECONDS, timeout)
        if self.now > self.end:
            raise Stuck(f"not over after {self.end:g} simulated seconds")
        return []


async def _at_once(work: Callable[[], Any]) -> Any:
    return work()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at second 0. ``in_thread`` decides when and whether work for a thread is done."""

    def __init__(self) -> None:
        self._virtual = _Clock()
        super().__init__(self._virtual)
        self.in_thread: Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]] = _at_once

    def time(self) -> float:
        return self._virtual.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        return self.create_task(self.in_thread(lambda: func(*args)))


def run_virtually(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """``asyncio.run`` in virtual time."""
    loops: list[VirtualLoop] = []

    def make_loop() -> VirtualLoop:
        loops.append(VirtualLoop())
        return loops[-1]

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.get_loop()
        return runner.run(main(loops[0]))
