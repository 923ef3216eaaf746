"""``ttg.workers``: a broker and workers of this machine that several runs use, one after the other or at once."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import threading
import weakref
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.errors import RunStopped, TTGError
from ttg.results.folder import LOGS
from ttg.run.at_exit import Turn, at_exit
from ttg.run.events import Event
from ttg.run.local_workers import LocalWorkers, WorkerCommand, log_tail, worker_environment
from ttg.run.scratch import Scratch
from ttg.settings import Settings

if TYPE_CHECKING:
    from ttg.brokers.base import Broker

log = logging.getLogger("ttg.run")

LOOK_SECONDS = 0.2
"""How soon a worker that was killed is replaced."""


class WarmWorkers:
    """Made by :func:`ttg.workers`."""

    def __init__(self, settings: Settings, count: int, slots: int, path: Sequence[str]) -> None:
        self._session = Session(settings, count, slots, path)
        weakref.finalize(self, self._session.close).atexit = False

    def close(self) -> None:
        """End the workers, when they have settled what they are at; returns when nothing of them is left."""
        self._session.close()
        if self._session.pid == os.getpid():
            self._session.ended.wait()

    def __enter__(self) -> WarmWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        session = self._session
        state = "closed" if session.closed else f"{session.count} workers with {session.slots} slots each"
        return f"<ttg workers: {state}>"


class Session:
    """The processes, and the thread that looks after them, from construction until ``ended`` is set."""

    def __init__(self, settings: Settings, count: int, slots: int, path: Sequence[str]) -> None:
        self.settings, self.count, self.slots, self.pid = settings, count, slots, os.getpid()
        self.closed = False
        self.ended = Event()
        self._started = Event()
        self._error: BaseException | None = None
        self._path = path
        threading.Thread(target=self._main, name="ttg-workers").start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        _open.append(self)

    def close(self) -> None:
        """No run joins any more. Returns at once."""
        self.closed = True
        with suppress(ValueError):
            _open.remove(self)
        if os.getpid() == self.pid:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._closing.set)

    async def ensure(self) -> None:
        """What of the broker is gone is started again, but not by those who use it."""
        self.check_open()

    def check_open(self) -> None:
        """Raise ``RunStopped`` once nobody starts anything any more."""
        if self.closed:
            raise RunStopped("the ttg.workers that this used were closed; `ttg.resume` goes on with a run")

    @asynccontextmanager
    async def joined(self, run: str, folder: Path, retry_delay_ms: int) -> AsyncIterator[tuple[Broker, LocalWorkers]]:
        """For a run that lies in ``folder``: a connection, and a look at the workers. For other event loops, too."""
        from ttg.brokers import connect
        from ttg.brokers.embedded import URL_FILE

        config = self.settings.broker_config(self.url, retry_delay_ms=retry_delay_ms)
        broker = connect(config, f"coordinator-{run}")
        place = folder / "broker"  # where those look who want to watch the run
        try:
            place.mkdir(exist_ok=True)
            (place / URL_FILE).write_text(self.url, encoding="utf-8")
            yield broker, _Shared(self, self._workers)
        finally:
            await broker.close()
            shutil.rmtree(place, ignore_errors=True)

    # -- the thread

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            if self._started.is_set():
                log.exception("ttg.workers has ended: what uses it ends as well")
        finally:
            self.closed = True
            self._started.set()
            self.ended.set()

    async def _serve(self) -> None:
        from ttg.brokers.embedded import EmbeddedServer

        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        scratch = Scratch("workers")
        folder = scratch.path
        server = EmbeddedServer(folder)
        try:
            await server.begin()
            self.url = server.url
            environment = worker_environment(self.settings, self.url, self.settings.retry.delay_ms, self._path)
            arguments = ["--slots", str(self.slots), "--allow", "*"]
            command = WorkerCommand(arguments, environment, folder / LOGS, (server.parent_pipe_fd,))
            self._workers = LocalWorkers(command, self.count)
            self._workers.start()
            await server.ready()
            self._started.set()
            while not self._closing.is_set():
                await self._look_after(server)
            await self._workers.stop()
        finally:
            if hasattr(self, "_workers"):
                self._workers.kill()
            await server.stop(discard=True)
            scratch.remove()

    async def _look_after(self, server: Any) -> None:
        for code in self._workers.look():
            log.warning("a worker of ttg.workers ended with exit code %d", code)
            if self._workers.hopeless:
                log.error("none can be started; last words:\n%s", log_tail(self._workers.command.logs))
        try:
            await server.ensure()
        except (TTGError, OSError) as error:
            log.warning("the broker of ttg.workers: %s", error)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._closing.wait()


class _Shared(LocalWorkers):
    """Workers as one of those sees them who use them: others start and end them."""

    def __init__(self, session: Session, workers: LocalWorkers) -> None:
        super().__init__(workers.command, workers.count)
        self._session, self._all = session, workers

    def look(self, drained: Collection[str] = ()) -> list[int]:
        """Nobody's death is this run's matter, but the end of all."""
        self._session.check_open()
        return []

    @property
    def pids(self) -> dict[str, int]:
        """As of the moment; they change in another thread."""
        return {self._all._name(number): process.pid for number, process in self._all.processes.copy().items()}

    @property
    def alive(self) -> int:
        """How many are running."""
        return self._all.alive

    @property
    def hopeless(self) -> bool:
        """Whether nobody starts any."""
        return self._all.hopeless

    async def stop(self) -> None:
        """They see by themselves that the run is over."""

    def kill(self) -> None:
        """They are others', too."""


_open: list[Session] = []


def open_session() -> Session | None:
    """The workers that were made last, in this process, and are not closed."""
    return next((one for one in reversed(_open) if one.pid == os.getpid() and not one.closed), None)


def _at_exit() -> None:
    mine = [one for one in _open if one.pid == os.getpid()]
    for one in mine:
        one.close()
    for one in mine:
        one.ended.wait()


at_exit(Turn.WORKERS, _at_exit)
