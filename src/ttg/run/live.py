"""A run that goes on while the program does something else: :func:`ttg.start`."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.errors import TTGError
from ttg.results.folder import RunFolder, find_run
from ttg.run.events import Event
from ttg.run.progress import Progress
from ttg.run.request import RunRequest
from ttg.run.saved import Run
from ttg.run.threaded import ThreadedRun, drain_at_exit

if TYPE_CHECKING:
    from ttg.results.following import Follower, Row


class LiveRun:
    """A run that goes on. Its methods may be called from any thread.

    It goes on by itself, whether anybody waits, reads its rows, or stops reading them. When nothing refers to this
    object any more, or the program ends, the run is drained: :func:`ttg.resume` goes on with it.
    """

    def __init__(self, request: RunRequest, reporter: Any) -> None:
        self._run = ThreadedRun(request, reporter)

    @classmethod
    def to_its_end(cls, request: RunRequest, reporter: Any) -> Run:
        """What :meth:`wait` gives. Ctrl-C is the run's own from before it begins."""
        run = cls(request, reporter)

        def begun() -> bool:
            run._run.start()
            return run._run.ended.wait()

        run._blocked(begun)
        return run._result()

    @classmethod
    def alone(cls, request: RunRequest, reporter: Any) -> LiveRun:
        """One that is drained when nobody can wait for it any more."""
        run = cls(request, reporter)
        run._run.start()
        drain_at_exit(run._run)
        weakref.finalize(run, run._run.drain).atexit = False
        return run

    @property
    def id(self) -> str:
        """The run's id."""
        return self._run.request.spec.run

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._run.request.out

    @property
    def progress(self) -> Progress:
        """How far it is, at this moment: total, done, dead, rate, seconds, state, …; costs nothing."""
        return self._run.progress

    def cancel(self) -> None:
        """End it; what is settled by then is kept. Returns at once. What waits for the run gets it as ``cancelled``."""
        self._run.cancel()

    def wait(self, timeout: float | None = None) -> Run:
        """The run, when it has ended; failed parameters do not raise. Raises what stopped it, and ``TimeoutError`` when
        it goes on after ``timeout`` seconds. Ctrl-C is as with :func:`ttg.run`."""
        if not self._blocked(lambda: self._run.ended.wait(timeout)):
            state = self.progress
            raise TimeoutError(f"run {self.id} goes on after {timeout} s: {state.settled} of {state.total} are settled")
        return self._result()

    def as_completed(self) -> Iterator[Row]:
        """Each row as soon as it is known, as a dict, and each dead letter, as a row that has a ``failure``; what
        stopped the run, if something did, is raised behind the last one. From the first row on, whenever one begins.

        A row is known when its chunk is settled, which takes a second or so (``chunk_size=1``: at once). The values are
        those of this moment: a column that gets other types later on may be wider in the table.
        """
        news = Event()
        with self._listening(news.set):
            follower = None
            while True:
                news.clear()
                ended = self._run.ended.is_set()
                follower = follower or self._follower()
                if rows := follower.take() if follower else []:
                    yield from rows
                elif ended:
                    break
                else:
                    self._blocked(news.wait)
        self._result()

    async def __aiter__(self) -> AsyncIterator[Row]:
        """As :meth:`as_completed`, for the running event loop."""
        news = asyncio.Event()
        with self._listening(_from_elsewhere(news.set)):
            follower = None
            while True:
                news.clear()
                ended = self._run.ended.is_set()
                follower = follower or self._follower()
                if rows := await asyncio.to_thread(follower.take) if follower else []:
                    for row in rows:
                        yield row
                elif ended:
                    break
                else:
                    await news.wait()
        self._result()

    def __await__(self) -> Generator[Any, None, Run]:
        return self._awaited().__await__()

    async def _awaited(self) -> Run:
        news = asyncio.Event()
        with self._listening(_from_elsewhere(news.set)):
            while not self._run.ended.is_set():
                await news.wait()
                news.clear()
        return self._result()

    def __repr__(self) -> str:
        state = self.progress
        return f"<ttg live run {self.id}: {state.state}, {state.done} results, {state.dead} dead of {state.total}>"

    def _follower(self) -> Follower | None:
        if self._run.collector is None:
            return None
        from ttg.results.following import Follower

        return Follower(self._run.collector)

    @contextmanager
    def _listening(self, listener: Callable[[], None]) -> Iterator[None]:
        self._run.listeners.add(listener)
        try:
            yield
        finally:
            self._run.listeners.discard(listener)

    def _blocked(self, wait: Callable[[], bool]) -> bool:
        try:
            return self._run.waiting(wait)
        except KeyboardInterrupt:
            self._say_how_to_go_on()
            raise

    def _result(self) -> Run:
        """What it ended with. (What an error says is in its message: a notebook need not show the way that it came.)"""
        error, request = self._run.error, self._run.request
        if isinstance(error, TTGError):
            raise error.with_traceback(None) from None
        if error is not None:
            raise error
        return Run(RunFolder.open(request.out))

    def _say_how_to_go_on(self) -> None:
        print(f"interrupted: ttg.resume({self._found_by()!r}) goes on", file=sys.stderr)

    def _found_by(self) -> str:
        """The run's id, once it is registered; before it began, its folder."""
        request = self._run.request
        with suppress(TTGError):
            if find_run(request.spec.run, request.settings.home).path == request.out.absolute():
                return request.spec.run
        return str(request.out)


def _from_elsewhere(function: Callable[[], Any]) -> Callable[[], None]:
    """``function`` on the running event loop, for other threads to call."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(function)

    return call
