"""From a request to a finished run: folder, broker, local workers, coordinator, and the way back out.

The order matters for the time to the first result: the embedded server and the worker processes start first and warm up
while this process imports what it needs to collect.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from ttg.allocation import keep_freed_memory
from ttg.errors import RunConflictError, RunStopped, TTGError
from ttg.function import signed_store, with_pickles
from ttg.messages import RunStatus
from ttg.results.folder import RunFolder, RunLock, disk_errors, forget_run, link_run
from ttg.run.local_workers import LocalWorkers
from ttg.run.processes import broker_and_workers
from ttg.run.progress import Progress
from ttg.run.provenance import commit_of, save_sources
from ttg.run.report import Finished
from ttg.run.request import RunRequest
from ttg.run.stored_results import clear_store, make_store
from ttg.spec import RunSpec

if TYPE_CHECKING:
    from ttg.brokers.base import Broker
    from ttg.brokers.embedded import EmbeddedServer
    from ttg.run.coordinator import Coordinator
    from ttg.run.services import Services

log = logging.getLogger("ttg.run")

OF_NUMPY_AND_ARROW = {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""No thread per core that spins for linear algebra that never comes; and Arrow, which needs 1 MiB at a time to write a
part, does so from the heap of all else: its own pool (mimalloc) grew to 40 MiB for that."""


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of a run that is going on, for those who watch it or break it."""

    coordinator: Coordinator
    broker: Broker
    server: EmbeddedServer | None
    workers: LocalWorkers | None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What happens beside a run. ``on_start`` is called when everything is started, ``before_end`` when it is done
    and the broker still there. ``handle_signals``: Ctrl-C, SIGTERM and SIGHUP drain (main thread only); where signals
    arrive elsewhere, ``on_begin`` is given what to call for each, on the event loop. ``on_finished`` is told of the
    end; at a terminal the dashboard stays for a while after that."""

    on_start: Callable[[Running], None] = lambda running: None
    before_end: Callable[[], Awaitable[None]] | None = None
    handle_signals: bool = False
    on_begin: Callable[[Callable[[], None]], None] = lambda interrupt: None
    dashboard: bool = False
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    on_finished: Callable[[Finished], None] = lambda finished: None


def start(request: RunRequest, reporter: Any, **services: Any) -> Finished:
    """Run to the end in this thread, with Ctrl-C draining. Blocking. ``services`` are those of :class:`Hooks`."""
    hooks = Hooks(handle_signals=True, **services)
    try:
        return asyncio.run(execute(request, reporter, hooks))
    except KeyboardInterrupt:
        raise RunStopped(f"stopped at once; `ttg resume {request.spec.run}` goes on") from None


async def execute(request: RunRequest, reporter: Any, hooks: Hooks = Hooks()) -> Finished:
    """Run to the end on the running event loop; returns the finished run or raises what stopped it."""
    folder = _folder(request)
    if not request.space.computable:
        from ttg.results.rows import space_of

        request = replace(request, space=space_of(folder))
    if request.change:
        log.warning("rows from now on are of the new code: %s", request.change)
    signals = _Signals()
    if hooks.handle_signals:
        signals.listen()
    hooks.on_begin(signals.on_signal)
    async with AsyncExitStack() as lasting:
        try:
            with folder.lock() as lock:
                services = await _execute(request, folder, lock, reporter, hooks, signals, lasting)
        except asyncio.CancelledError:
            if signals.presses and folder.info.state is RunStatus.ACTIVE:
                folder.update(state=RunStatus.INTERRUPTED)
            if signals.presses != 1:
                raise
            raise RunStopped(f"stopped before it began; `ttg resume {request.out}` starts it") from None
        finished = Finished.of(folder)
        hooks.on_finished(finished)
        if services is not None and hooks.handle_signals and not signals.presses:
            await services.stay(signals.leave())
        return finished


def _folder(request: RunRequest) -> RunFolder:
    if request.resume:
        folder = RunFolder.open(request.out)
        _save_packed(folder, request)
        return folder
    folder = RunFolder.create(request.out, request.spec, python_path=request.python_path)
    try:
        _save_inputs(folder, request)
    except BaseException:  # nobody could resume what is there of it
        forget_run(folder, request.settings.home, delete=True)
        raise
    return folder


def _save_inputs(folder: RunFolder, request: RunRequest) -> None:
    """What cannot be made again from the specification alone."""
    if not request.space.computable:
        from ttg.results.rows import save_rows

        save_rows(folder, request.space)
    _save_packed(folder, request)


def _save_packed(folder: RunFolder, request: RunRequest) -> None:
    if request.inputs:
        with disk_errors(folder.inputs):
            folder.inputs.mkdir(exist_ok=True)
            for packed in request.inputs.values():
                packed.write(folder.inputs / packed.name)


async def _execute(
    request: RunRequest,
    folder: RunFolder,
    lock: RunLock,
    reporter: Any,
    hooks: Hooks,
    signals: _Signals,
    lasting: AsyncExitStack,
) -> Services | None:
    """The run to its end, with its broker; what is served of it beside, in ``lasting``, goes on."""
    save_sources(folder, request.sources)
    before = folder.info.epoch
    try:
        request = replace(request, spec=await _with_store(request, folder))
        discard = partial(_is_finished, folder)
        async with (
            broker_and_workers(request, folder.path, discard=discard) as (broker, server, workers),
            _noting_commit(request, folder),
        ):
            coordinator = signals.coordinator = _coordinator(request, folder, broker, server, workers, reporter)
            coordinator.on_renewal = partial(_confirm, request, folder, lock)
            hooks.on_start(Running(coordinator, broker, server, workers))
            async with _services(request, broker, hooks, folder, lasting) as services:
                await _run(coordinator, folder, reporter)
                if hooks.before_end is not None:
                    await hooks.before_end()
                if services is not None:
                    await services.hear_the_end()
                    services.tell_the_end(Finished.of(folder).in_words, at_once=True)
    except TTGError as error:
        resumable = isinstance(error, RunStopped) or (isinstance(error, RunConflictError) and bool(folder.info.epoch))
        if not request.resume and not resumable and folder.is_empty:
            forget_run(folder, request.settings.home, delete=True)  # it never began: its folder is free again
            if request.spec.store:
                clear_store(request.spec.store)
        elif folder.info.epoch > before and not isinstance(error, RunStopped | RunConflictError):
            settled = folder.info.done + folder.info.dead
            kept = f"{settled:,} of {folder.info.size:,} parameters are settled, and kept"
            error.add_note(f"{kept}: `ttg resume {request.spec.run}` goes on")
        raise
    return services


def _is_finished(folder: RunFolder) -> bool:
    return folder.info.state.is_finished


async def _with_store(request: RunRequest, folder: RunFolder) -> RunSpec:
    """The specification with the store that its workers are to use this time."""
    ref = await make_store(request.store, folder)
    return structs.replace(request.spec, store=signed_store(ref, request.spec.identity, request.settings.secret))


@asynccontextmanager
async def _noting_commit(request: RunRequest, folder: RunFolder) -> AsyncIterator[None]:
    """Record meanwhile which commit the function is of; the run need not wait for git."""
    if request.resume and not request.force:
        yield
        return
    reference = request.spec.function
    place = Path(reference.location).parent if reference.kind == "file" else Path()
    asking = asyncio.create_task(asyncio.to_thread(commit_of, place))
    yield
    if commit := await asking:
        folder.update(git=commit)


def _confirm(request: RunRequest, folder: RunFolder, lock: RunLock, epoch: int) -> None:
    """The run is ours: say so on disk, show that we live, and let it be found by its id."""
    if (folder.info.epoch, folder.info.state) != (epoch, RunStatus.ACTIVE):
        folder.update(spec=request.spec, state=RunStatus.ACTIVE, epoch=epoch)
    lock.touch()
    link_run(folder, request.settings.home)


def _coordinator(
    request: RunRequest,
    folder: RunFolder,
    broker: Broker,
    server: EmbeddedServer | None,
    workers: LocalWorkers | None,
    reporter: Callable[[Progress], None],
) -> Coordinator:
    with _importing_much():
        from ttg.results.collector import Collector
        from ttg.results.dataset import open_ledger
        from ttg.run.coordinator import Coordinator

    collector = Collector(folder, request.spec, request.space, open_ledger(folder))
    if request.retry_dead:
        collector.retry_dead(request.retry_dead)
    return Coordinator(
        spec=with_pickles(request.spec, folder.input),
        source=request.space,
        sink=collector,
        broker=broker,
        options=replace(request.options, expected_slots=max(1, request.workers * request.slots)),
        report=reporter,
        workers=workers,
        restart_broker=server.ensure if server else request.warm.ensure if request.warm else None,
        epoch=folder.info.epoch + 1,
        retried=tuple(request.retry_dead),
        force=request.force,
        history=folder.history,
    )


@contextmanager
def _importing_much() -> Iterator[None]:
    """Imports make objects that stay, not garbage: looking for some takes a quarter of their time. And a process that
    is ours alone never looks there again, and says what it needs of what it imports (:data:`OF_NUMPY_AND_ARROW`)."""
    alone = threading.current_thread() is threading.main_thread()
    ours = {name: value for name, value in OF_NUMPY_AND_ARROW.items() if alone and name not in os.environ}
    os.environ.update(ours)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name in ours:
            del os.environ[name]
        if alone:
            gc.freeze()
            keep_freed_memory(shared=True)


async def _run(coordinator: Coordinator, folder: RunFolder, reporter: Any) -> RunStatus:
    started = asyncio.get_running_loop().time()
    try:
        return await coordinator.run()
    finally:
        reporter.close()
        seconds = folder.info.seconds + asyncio.get_running_loop().time() - started
        if coordinator.leadership.leads:  # otherwise the folder is as another coordinator, or none, has left it
            await _record_end(coordinator, folder, seconds)


async def _record_end(coordinator: Coordinator, folder: RunFolder, seconds: float) -> None:
    from ttg.results.collector import Collector

    collector = coordinator.sink
    assert isinstance(collector, Collector)
    on_disk = collector.ledger
    if on_disk.complete:
        await asyncio.to_thread(collector.finalise)
    if coordinator.spec.store and (coordinator.status.is_finished or coordinator.status is RunStatus.CANCELLED):
        await asyncio.to_thread(clear_store, coordinator.spec.store)
    folder.update(state=coordinator.status, seconds=seconds, done=on_disk.done_count, dead=on_disk.dead_count)


class _Signals:
    """First Ctrl-C, SIGTERM or SIGHUP: drain, or give up if nothing has begun. Second: leave at once (the ledger and
    the broker keep what is done). Made in the task that is to be stopped."""

    def __init__(self) -> None:
        self.presses = 0
        self.coordinator: Coordinator | None = None
        self._task = asyncio.current_task()
        self._left = asyncio.Event()
        self._over = False

    def leave(self) -> asyncio.Event:
        """All is done: from now on a signal only sets this."""
        self._over = True
        return self._left

    def listen(self) -> None:
        """From now on; main thread only."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.on_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(signal.SIGHUP, self.on_hangup)

    def on_hangup(self) -> None:
        """The terminal was closed; the kernel and the shell may both say so, which is no second request."""
        if not self.presses:
            self.on_signal()

    def on_signal(self) -> None:
        """What a signal means; after the second one everything is under way."""
        if self._over:
            self._left.set()
            return
        self.presses += 1
        if self.presses == 1:
            log.warning("stopping: workers settle what they have; once more to leave at once")
            self._stop()
        elif self.presses == 2:
            if self.coordinator is not None and self.coordinator.workers is not None:
                self.coordinator.workers.kill()
            raise KeyboardInterrupt

    def _stop(self) -> None:
        if self.coordinator is not None:
            self.coordinator.stop()
        elif self._task is not None:
            self._task.cancel()


@asynccontextmanager
async def _services(
    request: RunRequest, broker: Broker, hooks: Hooks, folder: RunFolder, lasting: AsyncExitStack
) -> AsyncIterator[Services | None]:
    if not hooks.dashboard and hooks.metrics_port is None:
        yield None
        return
    from ttg.run.services import serve

    async with serve(
        broker.config,
        request.settings,
        dashboard=hooks.dashboard,
        metrics_port=hooks.metrics_port,
        metrics_host=hooks.metrics_host,
        run=request.spec.run,
        folder=folder,
        lasting=lasting,
    ) as services:
        services.tell_the_end(f"Run {request.spec.run} has stopped")
        yield services
