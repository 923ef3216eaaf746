"""A run on an event loop of its own thread, so that it works where a loop is running (notebooks), and its Ctrl-C.

Signals arrive in the main thread. What they mean is the run's own business (``ttg.run.launch``): here they are only
handed to its loop. ``Thread.join`` is no place to wait: on Python 3.11 an interrupted one takes the thread for ended.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from ttg.run.launch import Hooks, execute
from ttg.run.request import RunRequest

LEAVE_SECONDS = 5.0
"""How long a second Ctrl-C waits until everything is killed and closed."""


def run_in_thread(request: RunRequest, reporter: Any) -> None:
    """Run to the end; raises what stopped it. Ctrl-C in the main thread drains, then raises ``KeyboardInterrupt``;
    a second one kills the workers and raises it at once."""
    run = _ThreadedRun(request, reporter)
    with run.interruptible():
        try:
            run.start()
            run.ended.wait()
        except KeyboardInterrupt:
            run.ended.wait(LEAVE_SECONDS)
            raise KeyboardInterrupt from None
    if run.presses:
        raise KeyboardInterrupt
    if run.error is not None:
        raise run.error


class _ThreadedRun:
    def __init__(self, request: RunRequest, reporter: Any) -> None:
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self.presses = 0
        self._heeded = 0
        self._execute = partial(execute, request, reporter, Hooks(on_begin=self._on_begin))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interrupt: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin; ``ended`` is set at the end, ``error`` is what it ended with."""
        threading.Thread(target=self._main, name="ttg-run").start()

    def _main(self) -> None:
        try:
            asyncio.run(self._execute())
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()

    def _on_begin(self, interrupt: Callable[[], None]) -> None:
        self._interrupt, self._loop = interrupt, asyncio.get_running_loop()
        self._loop.call_soon(self._heed)

    def _heed(self) -> None:
        """On the loop: each press once, those from before it began as well."""
        while self._heeded < self.presses:
            self._heeded += 1
            self._interrupt()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While open, Ctrl-C is ours, if it is anybody's and we are where it arrives. asyncio's own handler, in a
        running loop, would only cancel a task that waits for us."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(before):
            yield
            return
        signal.signal(signal.SIGINT, self._on_press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _on_press(self, *_: Any) -> None:
        self.presses += 1
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._heed)
        if self.presses == 2:  # who presses a third time is being served
            raise KeyboardInterrupt
