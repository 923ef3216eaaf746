"""From a request to a finished run: folder, broker, local workers, coordinator, and the way back out.

The order matters for the time to the first result: the embedded server and the worker processes start first and warm up
while this process imports what it needs to collect.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.clock import unix_time
from ttg.errors import InputError, RunConflictError, RunStopped, SpaceError
from ttg.results.folder import RunFolder, find_run
from ttg.run.coordinator import Coordinator, RunOptions
from ttg.run.local_workers import LocalWorkers, WorkerCommand
from ttg.run.progress import Progress
from ttg.run.report import Finished
from ttg.settings import Settings
from ttg.space import Space
from ttg.spec import Limits, RetryPolicy, RunSpec, Target
from ttg.units import max_failures as max_failures_of

if TYPE_CHECKING:
    from ttg.brokers.base import Broker
    from ttg.brokers.embedded import EmbeddedServer

log = logging.getLogger("ttg.run")

EMBEDDED_KEEP_BYTES = 16 << 20
SHARED_KEEP_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of a run that is going on, for those who watch it or break it."""

    coordinator: Coordinator
    broker: Broker
    server: EmbeddedServer | None
    workers: LocalWorkers | None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Everything a coordinator needs, checked. ``broker_url`` ``None``: the embedded server."""

    spec: RunSpec
    space: Space
    settings: Settings
    out: Path
    broker_url: str | None
    workers: int
    slots: int = 1
    replace_workers: bool = True
    options: RunOptions = field(default_factory=RunOptions)
    resume: bool = False
    revive: Iterable[int] = ()


def new_request(
    target: Target,
    space: Space,
    settings: Settings,
    *,
    run_id: str | None = None,
    out: Path | None = None,
    broker: str | None = None,
    workers: int | None = None,
    slots: int = 1,
    replace: bool = True,
    chunk_size: int | None = None,
    seed: int = 0,
    retries: int | None = None,
    retry_delay_seconds: float | None = None,
    timeout_seconds: float | None = None,
    memory_bytes: int | None = None,
    checkpoint_seconds: float | None = None,
    max_failures: str | int | None = None,
    vectorized: bool = False,
    priority: int = 0,
    keep_results: int | None = None,
) -> RunRequest:
    """A fresh run, frozen. Raises ``InputError`` subclasses for values that cannot work."""
    from ttg.space import space_to_json

    if not len(space):
        raise SpaceError("the parameter space is empty: nothing to run")
    policy = settings.retry
    spec = RunSpec(
        run=run_id or made_up_id(target.function),
        target=target,
        space=space_to_json(space),
        size=len(space),
        names=space.names,
        seed=seed,
        retry=RetryPolicy(
            max_retries=policy.max_retries if retries is None else _at_least(0, retries, "retries"),
            delay_ms=policy.delay_ms if retry_delay_seconds is None else int(1000 * retry_delay_seconds),
        ),
        limits=Limits(
            timeout_seconds=timeout_seconds,
            memory_bytes=memory_bytes,
            checkpoint_seconds=Limits().checkpoint_seconds if checkpoint_seconds is None else checkpoint_seconds,
        ),
        vectorized=vectorized,
        priority=priority,
        created=unix_time(),
    )
    return RunRequest(
        spec=spec,
        space=space,
        settings=settings,
        out=out or Path("ttg-runs") / spec.run,
        broker_url=broker or settings.broker_url,
        workers=_worker_count(workers),
        slots=_at_least(1, slots, "slots"),
        replace_workers=replace,
        options=_options(spec, chunk_size, max_failures, keep_results, broker or settings.broker_url),
    )


def resume_request(
    run: str,
    settings: Settings,
    *,
    force: bool = False,
    broker: str | None = None,
    workers: int | None = None,
    slots: int = 1,
    replace: bool = True,
    chunk_size: int | None = None,
    max_failures: str | int | None = None,
    keep_results: int | None = None,
    revive: Iterable[int] = (),
) -> RunRequest:
    """Go on with ``run``. Refuses (``RunConflictError``) when the function changed since, unless ``force``."""
    from ttg.results.rows import space_of

    folder = find_run(run, settings.home)
    spec = _same_function(folder, force=force)
    url = broker or settings.broker_url
    return RunRequest(
        spec=spec,
        space=space_of(folder),
        settings=settings,
        out=folder.path,
        broker_url=url,
        workers=_worker_count(workers),
        slots=_at_least(1, slots, "slots"),
        replace_workers=replace,
        options=_options(spec, chunk_size, max_failures, keep_results, url),
        resume=True,
        revive=revive,
    )


def _same_function(folder: RunFolder, *, force: bool) -> RunSpec:
    from ttg.target import refreshed

    spec = folder.spec
    now = refreshed(spec.target)
    if now.code == spec.target.code:
        return spec
    if not force:
        raise RunConflictError(
            f"{spec.target} has changed since run {spec.run} began, so old and new rows would not belong together: "
            "start a new run, or insist with --force"
        )
    return _with(spec, target=now)


def _with(spec: RunSpec, **changes: Any) -> RunSpec:
    import msgspec

    changed: RunSpec = msgspec.structs.replace(spec, **changes)
    return changed


def _options(
    spec: RunSpec, chunk_size: int | None, failures: str | int | None, keep: int | None, url: str | None
) -> RunOptions:
    if chunk_size is not None:
        _at_least(1, chunk_size, "chunk-size")
    default = SHARED_KEEP_BYTES if url else EMBEDDED_KEEP_BYTES
    return RunOptions(
        chunk_size=chunk_size,
        max_failures=max_failures_of(failures, spec.size) if isinstance(failures, str) else failures,
        keep_result_bytes=default if keep is None else keep,
    )


def _at_least(least: int, value: int, name: str) -> int:
    if value < least:
        raise InputError(f"--{name}: expected at least {least}, got {value}")
    return value


def _worker_count(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _at_least(0, workers, "workers")


def made_up_id(function: str) -> str:
    """``price-1123-a1b2c3``: readable, sortable within a day, unique."""
    import time

    name = "".join(letter if letter.isalnum() else "-" for letter in function).strip("-").lower()[:20] or "run"
    return f"{name}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"


# ---------------------------------------------------------------------------------------------- running


def start(request: RunRequest, reporter: Any, **extras: Any) -> Finished:
    """Run to the end in this thread, with Ctrl-C draining. Blocking."""
    return asyncio.run(execute(request, reporter, handle_signals=True, **extras))


async def execute(
    request: RunRequest,
    reporter: Any,
    *,
    handle_signals: bool = False,
    on_start: Callable[[Running], None] = lambda running: None,
    before_end: Callable[[], Awaitable[None]] | None = None,
    dashboard: bool = False,
    metrics_port: int | None = None,
) -> Finished:
    """Run to the end on the running event loop; returns the finished run or raises what stopped it.

    ``on_start`` is called when everything is started, ``before_end`` when it is done and the broker still there.
    """
    folder = _folder(request)
    with folder.lock():
        async with _broker(request, folder) as (broker, server, workers):
            coordinator = _coordinator(request, folder, broker, server, workers, reporter)
            on_start(Running(coordinator, broker, server, workers))
            if handle_signals:
                _drain_on_signals(coordinator)
            async with _services(request, broker, dashboard, metrics_port):
                status = await _run(coordinator, folder, reporter)
                if before_end is not None:
                    await before_end()
    return Finished.of(folder, status)


def _folder(request: RunRequest) -> RunFolder:
    if request.resume:
        folder = RunFolder.open(request.out)
        folder.update(spec=request.spec, state="active")
        return folder
    folder = RunFolder.create(request.out, request.spec, request.settings.home)
    if not request.space.computable:
        from ttg.results.rows import save_rows

        save_rows(folder, request.space)
    return folder


@asynccontextmanager
async def _broker(
    request: RunRequest, folder: RunFolder
) -> AsyncIterator[tuple[Broker, EmbeddedServer | None, LocalWorkers | None]]:
    """The broker and the local workers, started; ended in the reverse order whatever happens."""
    server = await _embedded(request, folder)
    url = server.url if server else request.broker_url
    assert url is not None
    workers = _local_workers(request, folder, url, server)
    try:
        from ttg.brokers import connect

        config = request.settings.broker_config(url, retry_delay_ms=request.spec.retry.delay_ms)
        broker = connect(config, f"coordinator-{request.spec.run}")
        try:
            yield broker, server, workers
        finally:
            if workers is not None:
                await workers.stop()
            await broker.close()
    finally:
        if workers is not None:
            workers.kill()
        if server is not None:
            await server.stop()


async def _embedded(request: RunRequest, folder: RunFolder) -> EmbeddedServer | None:
    if request.broker_url is not None:
        return None
    from ttg.brokers.embedded import EmbeddedServer

    server = EmbeddedServer(folder.path)
    await server.start()
    return server


def _local_workers(
    request: RunRequest, folder: RunFolder, url: str, server: EmbeddedServer | None
) -> LocalWorkers | None:
    if not request.workers:
        return None
    spec = request.spec
    arguments = ["--slots", str(request.slots), "--until-run", spec.run, "--allow", str(spec.target)]
    environment = {
        **os.environ,
        "TTG_BROKER": url,
        "TTG_NAMESPACE": request.settings.namespace,
        "TTG_RETRY_DELAY_MS": str(spec.retry.delay_ms),
    }
    if request.settings.secret:
        environment["TTG_SECRET"] = request.settings.secret
    keep_open = (server.lifeline_fd,) if server else ()
    command = WorkerCommand(arguments, environment, folder.logs, keep_open)
    workers = LocalWorkers(command, request.workers, replace=request.replace_workers)
    workers.start()
    return workers


def _coordinator(
    request: RunRequest,
    folder: RunFolder,
    broker: Broker,
    server: EmbeddedServer | None,
    workers: LocalWorkers | None,
    reporter: Callable[[Progress], None],
) -> Coordinator:
    from ttg.results.collector import Collector
    from ttg.results.dataset import open_ledger

    collector = Collector(folder, request.spec, request.space, open_ledger(folder))
    if request.revive:
        collector.revive(request.revive)
    return Coordinator(
        spec=request.spec,
        space=request.space,
        collector=collector,
        broker=broker,
        options=replace(request.options, expected_slots=max(1, request.workers * request.slots)),
        report=reporter,
        workers=workers,
        revive_broker=server.ensure if server else None,
        generation=_generation(folder) if request.resume else 0,
    )


def _generation(folder: RunFolder) -> int:
    """Distinguishes the task ids of this coordinator from those of earlier ones of the same run."""
    return int(1000 * unix_time()) % 10**9


async def _run(coordinator: Coordinator, folder: RunFolder, reporter: Any) -> str:
    started = asyncio.get_running_loop().time()
    try:
        return await coordinator.run()
    finally:
        reporter.close()
        seconds = folder.info.seconds + asyncio.get_running_loop().time() - started
        collector = coordinator.collector
        if collector.complete:
            await asyncio.to_thread(collector.finalise)
        folder.update(state=coordinator.status, seconds=seconds, done=collector.done_count, dead=collector.dead_count)


def _drain_on_signals(coordinator: Coordinator) -> None:
    """First Ctrl-C or SIGTERM: drain. Second: leave at once (the ledger and the broker keep what is done)."""
    loop = asyncio.get_running_loop()
    presses = 0

    def on_signal() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            coordinator.stop()
        else:
            if coordinator.workers is not None:
                coordinator.workers.kill()
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, on_signal)


@asynccontextmanager
async def _services(
    request: RunRequest, broker: Broker, dashboard: bool, metrics_port: int | None
) -> AsyncIterator[None]:
    if not dashboard and metrics_port is None:
        yield
        return
    from ttg.run.services import serve

    async with serve(broker.config, request.settings, dashboard=dashboard, metrics_port=metrics_port):
        yield


__all__ = ["RunRequest", "RunStopped", "execute", "made_up_id", "new_request", "resume_request", "start"]
