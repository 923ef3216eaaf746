"""A run on an event loop of its own thread, so that it works where a loop is running (notebooks), and its Ctrl-C.

Signals arrive in the main thread. What they mean is the run's own business (``ttg.run.launch``): here they are only
handed to its loop. ``Thread.join`` is no place to wait: on Python 3.11 an interrupted one takes the thread for ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from ttg.messages import RunStatus
from ttg.run.at_exit import Turn, at_exit
from ttg.run.events import Event
from ttg.run.launch import Hooks, Running, execute
from ttg.run.progress import Progress
from ttg.run.request import RunRequest

if TYPE_CHECKING:
    from ttg.results.collector import Collector

T = TypeVar("T")

log = logging.getLogger("ttg.run")

LEAVE_SECONDS = 5.0
"""How long a second Ctrl-C waits until everything is killed and closed."""


class ThreadedRun:
    """A run that goes on by itself from :meth:`start` until ``ended`` is set; ``error`` is what it ended with. What is
    in ``listeners`` is called, in the run's thread, whenever there is news of results, and at the end. ``collector`` is
    there when the run has begun."""

    def __init__(self, request: RunRequest, reporter: Any) -> None:
        self.request = request
        self._pid = os.getpid()
        self.ended = Event()
        self.error: BaseException | None = None
        self.presses = 0
        self.listeners: set[Callable[[], None]] = set()
        self.collector: Collector | None = None
        self._reporter = reporter
        self._last = Progress(request.spec.run, request.spec.size)
        self._began = monotonic()
        self._heeded = 0
        self._cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interrupt: Callable[[], None] = lambda: None
        self._cancel: Callable[[RunStatus], None] = lambda status: None

    def start(self) -> None:
        """Returns at once."""
        threading.Thread(target=self._main, name="ttg-run").start()

    @property
    def progress(self) -> Progress:
        """This moment's."""
        if self.collector is None or self.ended.is_set():
            return self._last
        done, dead = self.collector.done_count, self.collector.dead_count
        return replace(self._last, done=done, dead=dead, seconds=monotonic() - self._began)

    @property
    def is_going_on(self) -> bool:
        """In this process, which may have been forked from the one that started it."""
        return self._pid == os.getpid() and not self.ended.is_set()

    def cancel(self) -> None:
        """End it as cancelled. From any thread, as often as one likes."""
        self._cancelled = True
        self._call(lambda: self._cancel(RunStatus.CANCELLED))

    def drain(self) -> None:
        """What one Ctrl-C does, unless there was one."""
        if self.is_going_on and not self.presses:
            self._on_press()

    def waiting(self, wait: Callable[[], T]) -> T:
        """``wait()``; Ctrl-C in the main thread meanwhile drains the run, then raises ``KeyboardInterrupt``, a second
        one kills the workers and raises it at once."""
        before = self.presses
        with self._interruptible() as ours:
            try:
                found = wait()
                if not ours or self.presses == before:
                    return found
                self.ended.wait()
            except KeyboardInterrupt:
                self.ended.wait(LEAVE_SECONDS)
        raise KeyboardInterrupt

    # -- the run's thread

    def _main(self) -> None:
        try:
            asyncio.run(execute(self.request, self, Hooks(on_begin=self._on_begin, on_start=self._on_start)))
        except BaseException as error:
            self.error = error
        finally:
            self._loop = None
            self.ended.set()
            self._tell()

    def __call__(self, progress: Progress) -> None:
        """A reporter, between the run and the one that it was given."""
        self._last = progress
        self._reporter(progress)

    def close(self) -> None:
        """See ``__call__``."""
        self._reporter.close()

    def _on_begin(self, interrupt: Callable[[], None]) -> None:
        self._interrupt, self._loop = interrupt, asyncio.get_running_loop()
        self._loop.call_soon(self._heed)

    def _on_start(self, running: Running) -> None:
        self._cancel = running.coordinator.stop
        if self._cancelled:
            self._cancel(RunStatus.CANCELLED)
        collector: Any = running.coordinator.sink
        collector.on_news = self._tell
        self.collector = collector

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener()

    def _heed(self) -> None:
        """On the loop: each press once, those from before it began as well."""
        while self._heeded < self.presses:
            self._heeded += 1
            self._interrupt()

    # -- other threads

    def _call(self, function: Callable[[], None]) -> None:
        if (loop := self._loop) is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(function)

    @contextmanager
    def _interruptible(self) -> Iterator[bool]:
        """While open, Ctrl-C is ours, if it is anybody's and we are where it arrives. asyncio's own handler, in a
        running loop, would only cancel a task that waits for us."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(before):
            yield False
            return
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield True
        finally:
            signal.signal(signal.SIGINT, before)

    def _on_signal(self, *_: Any) -> None:
        self._on_press()
        if self.presses == 2:  # who presses a third time is being served
            raise KeyboardInterrupt

    def _on_press(self) -> None:
        self.presses += 1
        self._call(self._heed)


_left_alone: weakref.WeakSet[ThreadedRun] = weakref.WeakSet()


def drain_at_exit(run: ThreadedRun) -> None:
    """The interpreter is not to wait for the whole of ``run``, if nobody does: it is drained, and can be resumed."""
    _left_alone.add(run)


def _at_exit() -> None:
    runs = [run for run in _left_alone if run.is_going_on]
    for run in runs:
        log.warning("the program ends before run %s does: ttg.resume(%r) goes on", *2 * (run.request.spec.run,))
        run.drain()
    for run in runs:
        run.waiting(run.ended.wait)


at_exit(Turn.CALLS_AND_RUNS, _at_exit)
