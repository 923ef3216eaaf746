"""The demonstration itself: one narrated run, measured, broken on purpose if asked, and checked."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ttg.demo.brokers import DemoBroker, Say, demo_broker, forget
from ttg.demo.faults import FAULTS
from ttg.demo.measure import DataCheck, check_folder
from ttg.demo.own_function import OwnFunction, check_own
from ttg.demo.show import Show
from ttg.demo.tables import METRIC_HEADER, PROTOTYPE_EXPLAINED, DemoResult, as_text, metric_rows, needs_explanation
from ttg.demo.workload import WORK_VARIABLE, Scale, value_of
from ttg.errors import RunStopped, SettingsError
from ttg.options import Options
from ttg.results.folder import RunFolder, forget_run
from ttg.run.launch import Hooks, execute
from ttg.run.report import Finished
from ttg.run.request import RunRequest, made_up_id, new_request
from ttg.settings import Settings
from ttg.space import grid, range_
from ttg.spec import FunctionRef

LEASE_SECONDS = 5.0
"""Where a fault waits for a lease to run out, so that an audience need not wait for long."""


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What to show. ``fault`` names one of :data:`~ttg.demo.faults.FAULTS` or is ``None``; ``keep`` what a run leaves
    behind; ``own`` shows the user's function instead of the stand-in."""

    backend: str
    scale: Scale
    workers: int
    fault: str | None
    fault_share: float
    out: Path
    settings: Settings
    dashboard: bool = False
    keep: bool = False
    own: OwnFunction | None = None

    @property
    def name(self) -> str:
        """Of the run, in file names: ``redis-worker``."""
        return f"{self.backend}-{self.fault}" if self.fault else self.backend


async def perform(config: DemoConfig, say: Say, reporter: Any) -> DemoResult:
    """One demonstration run in ``config.out / config.name``. Raises ``RunStopped`` when it was interrupted."""
    os.environ[WORK_VARIABLE] = str(config.scale.work_ms)
    say("\n[1/4] The broker")
    async with demo_broker(config.backend, config.out, say, keep=config.keep) as broker:
        _check_breakable(config, broker)
        request = _request(config, broker.url)
        say("\n[2/4] The run")
        _on_connect(config, request, say)
        show = Show(config.fault, config.fault_share, config.workers, broker, say, reporter)
        finished = await _execute(config, request, show)
        check = await _check(config, request, say)
        result = _result(config, finished, show, check)
        _present(result, say)
        if not config.keep:
            await forget(request.settings, broker, request.spec.run)
    if not config.keep:
        forget_run(RunFolder.open(request.out), request.settings.home, delete=True)
    return result


async def _execute(config: DemoConfig, request: RunRequest, show: Show) -> Finished:
    hooks = Hooks(show.begin, show.end, handle_signals=True, dashboard=config.dashboard)
    try:
        finished = await execute(request, show, hooks)
    finally:
        await show.leave()
        _let_go_of_signals()
    if not finished.status.is_finished:
        raise RunStopped(
            f"the demonstration was {finished.status}: {finished.done:,} of {finished.size:,} parameters are settled "
            f"and kept; `ttg resume {finished.run}` goes on"
        )
    return finished


def _let_go_of_signals() -> None:
    """From here on Ctrl-C simply ends the program: nothing is left to drain."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            asyncio.get_running_loop().remove_signal_handler(number)


def _request(config: DemoConfig, url: str | None) -> RunRequest:
    settings = config.settings
    if config.fault in ("freeze", "network"):
        settings = replace(settings, lease_seconds=LEASE_SECONDS)
    stand_in = OwnFunction(FunctionRef("module", "ttg.demo.workload", "simulate"), grid(i=range_(config.scale.size)))
    shown = config.own or stand_in
    return new_request(
        shown.function,
        shown.space,
        settings,
        Options(
            run_id=made_up_id(f"demo-{config.name}"),
            out=config.out / config.name,
            broker=url,
            workers=config.workers - (config.fault == "network"),
            chunk_size=config.scale.chunk_size,
            replace=False,
        ),
    )


def _on_connect(config: DemoConfig, request: RunRequest, say: Say) -> None:
    scale = config.scale
    chunks = f"{scale.chunks()} chunks of {scale.chunk_size}" if scale.chunks() else "chunks of automatic size"
    work = f" of {scale.work_ms:g} ms" if scale.work_ms else ""
    say(f"{request.spec.function}: {scale.size:,} parameters{work} in {chunks}, on {config.workers} workers.")
    if scale.work_ms:
        say(f"That is {scale.ideal_seconds(config.workers):.1f} s of work for each of them: nothing can be faster.")
    say("Each worker leases one chunk at a time, computes it in a child process, and settles it: result recorded and")
    say("task removed in one step. Whoever dies holds only what it has not settled.")
    if config.fault:
        fault = FAULTS[config.fault]
        say(f"At {100 * config.fault_share:.0f} % we {fault.text}. What must happen: {fault.promise}; nothing is lost.")


async def _check(config: DemoConfig, request: RunRequest, say: Say) -> DataCheck:
    say("\n[3/4] The check")
    if config.own:
        say("Reading the table back; calling the function directly for rows drawn at random …")
        check = await asyncio.to_thread(check_own, request.out)
    else:
        say("Reading the table back, comparing every row with a direct computation …")
        check = await asyncio.to_thread(check_folder, request.out, config.scale.size, value_of)
    say(f"{'✔' if check.passed else '✘'} {check}.")
    return check


def _result(config: DemoConfig, finished: Finished, show: Show, check: DataCheck) -> DemoResult:
    return DemoResult(
        backend=config.backend,
        scale=config.scale,
        workers=config.workers,
        fault=config.fault,
        fault_share=config.fault_share,
        status=finished.status,
        seconds=show.seconds,
        chunks_settled=show.chunks_settled,
        workers_seen=show.most_workers,
        check=check,
        seen=show.seen,
        queues=show.queues,
        folder=str(finished.folder) if config.keep else None,
    )


def _present(result: DemoResult, say: Say) -> None:
    say("\n[4/4] The result\n")
    say(as_text(METRIC_HEADER, list(metric_rows(result))))
    if needs_explanation(result):
        say(PROTOTYPE_EXPLAINED)
    say(f"\nThe broker's queues after completion:\n{result.queues}")


def check_config(config: DemoConfig) -> None:
    """Refuse what cannot be shown, before anything starts."""
    if config.fault and config.fault not in FAULTS:
        raise SettingsError(f"--fault: expected one of {', '.join(FAULTS)}, got {config.fault!r}")
    if config.workers < 1:
        raise SettingsError(f"--workers: expected at least 1, got {config.workers}")
    if config.fault and FAULTS[config.fault].takes_worker and config.workers < 2:
        raise SettingsError(f"--fault {config.fault} takes a worker away: expected --workers 2 or more")
    if not 0 < config.fault_share < 1:
        raise SettingsError(f"--fault-at: expected a percentage between 0 and 100, got {100 * config.fault_share:g}")


def _check_breakable(config: DemoConfig, broker: DemoBroker) -> None:
    if config.fault == "broker" and not broker.is_private:
        raise SettingsError(
            f"--fault broker kills the broker, and the {config.backend} that the environment names is not ours to "
            f"kill: unset {'REDIS_HOST' if config.backend == 'redis' else 'RABBITMQ_HOST'} and TTG_BROKER"
        )
