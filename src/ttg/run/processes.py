"""The processes that a run has on this machine: an embedded broker, if no other is named, and local workers."""

from __future__ import annotations

import logging
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ttg.function import command_of
from ttg.results.folder import LOGS
from ttg.run.local_workers import LocalWorkers, WorkerCommand, worker_environment
from ttg.run.request import RunRequest

if TYPE_CHECKING:
    from ttg.brokers.base import Broker
    from ttg.brokers.embedded import EmbeddedServer

log = logging.getLogger("ttg.run")


@asynccontextmanager
async def broker_and_workers(
    request: RunRequest, folder: Path, *, discard: Callable[[], bool]
) -> AsyncIterator[tuple[Broker, EmbeddedServer | None, LocalWorkers | None]]:
    """The broker and the local workers, started; ended in the reverse order whatever happens.

    The workers need not wait for the server: it is there before they have imported what they need. What they leave is
    in ``folder``; an embedded broker's files are removed at the end if ``discard()``.
    """
    if request.warm is not None:
        async with request.warm.joined(request.spec.run, folder, request.spec.retry.delay_ms) as (broker, theirs):
            yield broker, None, theirs
        return
    server, workers = _embedded(request, folder), None
    try:
        if server is not None:
            await server.begin()
        url = server.url if server else request.broker_url
        assert url is not None
        workers = _local_workers(request, folder, url, server)
        if workers is not None:
            workers.start()
        from ttg.brokers import connect

        if server is not None:
            await server.ready()
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
            await server.stop(discard=discard())


def _embedded(request: RunRequest, folder: Path) -> EmbeddedServer | None:
    if request.broker_url is not None:
        return None
    from ttg.brokers.embedded import EmbeddedServer

    return EmbeddedServer(folder)


def _local_workers(request: RunRequest, folder: Path, url: str, server: EmbeddedServer | None) -> LocalWorkers | None:
    if not request.workers:
        if request.settings.run_identity:  # who chose it starts the workers, too
            return None
        having = f" that have {', '.join(request.spec.needs)}" if request.spec.needs else ""
        log.warning("no local workers: start some%s, in this folder, with `%s`", having, _worker_command(request, url))
        return None
    spec = request.spec
    arguments = [
        "--slots",
        str(request.slots),
        "--until-run",
        f"{spec.run}@{spec.identity}",
        *(word for target in spec.called for word in command_of(target)),
        *("--allow", "."),
    ]
    if request.threads:
        arguments += ["--threads", str(request.threads)]
    if request.gpus:
        arguments += ["--gpus", str(request.gpus)]
    environment = worker_environment(request.settings, url, spec.retry.delay_ms, request.python_path)
    keep_open = (server.parent_pipe_fd,) if server else ()
    if request.echo_fd is not None:
        arguments += ["--echo-fd", str(request.echo_fd)]
        keep_open = (*keep_open, request.echo_fd)
    command = WorkerCommand(arguments, environment, folder / LOGS, keep_open, request.gpus)
    return LocalWorkers(command, request.workers, replace=request.replace_workers)


def _worker_command(request: RunRequest, url: str) -> str:
    """What to type elsewhere, without the password, which belongs into TTG_BROKER there."""
    broker = request.settings.broker_config(url)
    words = ["ttg", "worker", "--broker", broker.masked_url]
    for target in request.spec.called:
        words += target.allowing
    for need in request.spec.needs:
        words += ["--label", need]
    if broker.namespace != "ttg":
        words += ["--namespace", broker.namespace]
    return shlex.join(words)
