"""The demonstration itself: one narrated run, measured, broken on purpose if asked, checked, reported."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ttg.brokers.base import BrokerStats
from ttg.brokers.embedded import EmbeddedServer
from ttg.demo.faults import FAULTS, Victims, inject
from ttg.demo.measure import DataCheck, Observer, check_folder
from ttg.demo.page import page
from ttg.demo.tables import COMPARISON_HEADER, DemoResult, as_markdown, as_text, comparison_rows, metric_rows
from ttg.demo.workload import WORK_VARIABLE, Scale, value_of
from ttg.errors import SettingsError
from ttg.run.launch import Hooks, Running, execute
from ttg.run.progress import Progress
from ttg.run.request import RunRequest, made_up_id, new_request
from ttg.settings import Settings
from ttg.space import grid, range_
from ttg.spec import Target

METRIC_HEADER = ("Metric", "Target", "Observed")
LEASE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What to show. ``fault`` names one of :data:`~ttg.demo.faults.FAULTS` or is ``None``."""

    backend: str
    scale: Scale
    workers: int
    fault: str | None
    fault_share: float
    out: Path
    settings: Settings
    dashboard: bool = False
    target: Target | None = None


Say = Callable[[str], None]


async def perform(config: DemoConfig, say: Say, reporter: Any) -> DemoResult:
    """One demonstration run. The run's folder is ``config.out / <backend>[-fault]``."""
    os.environ[WORK_VARIABLE] = str(config.scale.work_ms)
    async with _broker_url(config, say) as (url, kill_broker):
        request = _request(config, url)
        _introduce(config, request, say)
        show = Show(config, say, reporter, kill_broker)
        started = asyncio.get_running_loop().time()
        hooks = Hooks(show.begin, show.end, handle_signals=True, dashboard=config.dashboard)
        finished = await execute(request, show, hooks)
        seconds = asyncio.get_running_loop().time() - started
    say("Checking every parameter against a direct computation …")
    check = await asyncio.to_thread(check_folder, request.out, config.scale.size, value_of)
    result = show.result(finished.status, seconds, check, request.out)
    say(f"Data check: {check}.")
    say("\n" + as_text(METRIC_HEADER, list(metric_rows(result))) + "\n")
    say("The broker's queues after completion:\n" + result.queues)
    return result


def _request(config: DemoConfig, url: str | None) -> RunRequest:
    scale = config.scale
    settings = config.settings
    if config.fault in ("freeze", "network"):
        settings = replace(settings, lease_seconds=LEASE_SECONDS)
    name = f"{config.backend}{'-' + config.fault if config.fault else ''}"
    return new_request(
        config.target or Target("module", "ttg.demo.workload", "simulate"),
        grid(i=range_(scale.size)),
        settings,
        run_id=made_up_id(f"demo-{name}"),
        out=config.out / name,
        broker=url,
        workers=config.workers,
        chunk_size=scale.chunks() and scale.chunk_size,
        replace=False,
    )


def _introduce(config: DemoConfig, request: RunRequest, say: Say) -> None:
    scale = config.scale
    chunks = f"{scale.chunks()} chunks of {scale.chunk_size}" if scale.chunks() else "automatic chunks"
    say(
        f"Run {request.spec.run}: {scale.size:,} parameters in {chunks}, {scale.work_ms:g} ms each, on "
        f"{config.workers} workers through {config.backend}."
    )
    if config.fault:
        fault = FAULTS[config.fault]
        say(f"At {100 * config.fault_share:.0f} % we will {fault.text}. What must happen: {fault.promise}.")


@asynccontextmanager
async def _broker_url(config: DemoConfig, say: Say) -> AsyncIterator[tuple[str | None, Any]]:
    """The broker to use: the environment's if it is of the wanted kind, else a private one for this demonstration."""
    given = config.settings.broker_url
    wanted = ("redis", "rediss", "unix") if config.backend == "redis" else ("amqp", "amqps")
    if given and given.partition("://")[0] in wanted:
        say("Using the broker that the environment names.")
        yield given, None
    elif config.backend == "redis":
        say("Starting a private Valkey for this run.")
        yield None, None
    else:
        async with _local_rabbitmq(config, say) as pair:
            yield pair


@asynccontextmanager
async def _local_rabbitmq(config: DemoConfig, say: Say) -> AsyncIterator[tuple[str, Any]]:
    from ttg.brokers.local_rabbitmq import LocalRabbitMQ

    say("Starting a private RabbitMQ node (this takes some seconds) …")
    node = LocalRabbitMQ(config.out / "rabbitmq")
    await node.start()
    try:
        if node.management_url:
            say(f"RabbitMQ management UI: {node.management_url} (user {node.user}, password {node.password})")
        yield node.url, node.crash_and_restart
    finally:
        await node.stop()


class Show:
    """Follows one run: is its reporter, injects the fault at the right moment, and keeps what was observed."""

    def __init__(self, config: DemoConfig, say: Say, reporter: Any, kill_broker: Any) -> None:
        self.config = config
        self.say = say
        self.reporter = reporter
        self._kill_broker = kill_broker
        self._running: Running | None = None
        self._observer: Observer | None = None
        self._watching: asyncio.Task[None] | None = None
        self._fault: asyncio.Task[None] | None = None
        self._most_workers = 0
        self._first_result: float | None = None
        self._stats: BrokerStats | None = None

    def begin(self, running: Running) -> None:
        """Everything is started: observe it, and break it when it is time."""
        self._running = running
        coordinator = running.coordinator
        self._observer = Observer(running.broker, lambda: (coordinator.settled, len(coordinator.heard)))
        self._watching = asyncio.create_task(self._observer.watch())
        if self.config.fault:
            self._fault = asyncio.create_task(self._break_at_share(running))

    def __call__(self, progress: Progress) -> None:
        self._most_workers = max(self._most_workers, progress.workers)
        if progress.settled and self._first_result is None:
            self._first_result = progress.elapsed_seconds
        self.reporter(progress)

    def close(self) -> None:
        """End of the progress bar."""
        self.reporter.close()

    async def _break_at_share(self, running: Running) -> None:
        coordinator = running.coordinator
        wanted = self.config.fault_share * coordinator.spec.size
        while coordinator.settled < wanted:  # noqa: ASYNC110 - progress is polled, as any onlooker would
            await asyncio.sleep(0.02)
        text = await inject(self.config.fault or "", self._victims(running))
        assert self._observer is not None
        self._observer.fault_injected(coordinator.settled / coordinator.spec.size, text)
        self.reporter.close()
        self.say(f"⚡ {text}")

    def _victims(self, running: Running) -> Victims:
        processes = running.workers.processes if running.workers else {}
        pids = {f"w{number}": process.pid for number, process in processes.items()}
        return Victims(pids, kill_broker=_kill(running.server) if running.server else self._kill_broker)

    async def end(self) -> None:
        """The run is over, the broker still there: take the last look."""
        assert self._observer is not None
        for task in (self._watching, self._fault):
            if task is not None:
                task.cancel()
        self._stats = await self._observer.look()

    def result(self, status: str, seconds: float, check: DataCheck, folder: Path) -> DemoResult:
        """Everything measured."""
        assert self._observer is not None
        assert self._running is not None
        return DemoResult(
            backend=self.config.backend,
            scale=self.config.scale,
            workers=self.config.workers,
            fault=self.config.fault,
            status=status,
            seconds=seconds,
            first_result_seconds=self._first_result or 0.0,
            chunks_settled=self._running.coordinator.chunks_settled,
            workers_seen=self._most_workers,
            check=check,
            seen=self._observer.seen,
            queues=describe_queues(self._stats),
            folder=str(folder),
        )


def _kill(server: EmbeddedServer) -> Callable[[], Awaitable[None]]:
    async def kill() -> None:
        os.kill(server.pid, signal.SIGKILL)

    return kill


def describe_queues(stats: BrokerStats | None) -> str:
    """The queues as ``rabbitmqctl list_queues`` would print them."""
    if stats is None:
        return "the broker did not answer"
    rows: list[tuple[str, ...]] = [
        (queue.name, str(queue.messages), *(_or_dash(n) for n in (queue.consumers, queue.ready, queue.unacknowledged)))
        for queue in stats.queues
    ]
    return as_text(("name", "messages", "consumers", "messages_ready", "messages_unacknowledged"), rows)


def _or_dash(number: int | None) -> str:
    return "–" if number is None else str(number)


def write_report(results: list[DemoResult], folder: Path) -> list[Path]:
    """``report.md``, ``report.json`` and ``report.html`` in ``folder``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# TTG demonstration\n"]
    if len(results) > 1:
        parts += ["## Comparison\n", as_markdown(COMPARISON_HEADER, comparison_rows(results)), ""]
    for result in results:
        parts += [
            f"## {result.backend}{f', fault: {result.fault}' if result.fault else ''}\n",
            as_markdown(METRIC_HEADER, list(metric_rows(result))),
            f"\nQueues after completion:\n\n```\n{result.queues}\n```\n",
        ]
    files = [folder / name for name in ("report.md", "report.json", "report.html")]
    files[0].write_text("\n".join(parts))
    files[1].write_text(json.dumps([asdict(result) for result in results], indent=1))
    files[2].write_text(page(results))
    return files


def check_config(config: DemoConfig) -> None:
    """Refuse what cannot be shown, before anything starts."""
    if config.fault and config.fault not in FAULTS:
        raise SettingsError(f"--fault: expected one of {', '.join(FAULTS)}, got {config.fault!r}")
    if config.workers < 1:
        raise SettingsError(f"--workers: expected at least 1, got {config.workers}")
    if config.fault in ("worker", "freeze", "network") and config.workers < 2:
        raise SettingsError(f"--fault {config.fault} takes a worker away: expected --workers 2 or more")
