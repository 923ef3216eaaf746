"""``ttg worker``."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import sys

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import SettingsError
from ttg.options import EntryPoint, Options
from ttg.streams import show

EMBEDDED_GONE_SECONDS = 5.0

DESCRIPTION = """\
Work on the tasks of whatever runs this broker knows; says what it is connected to, which runs it joins or refuses, and
when it waits. Ends with a JSON summary as its last lines, also after SIGTERM:
then it settles what is done, gives back the rest (nothing is charged), and exits with 75. It exits with 0 only when
the run it was started for (--until-run) is finished, or when it was idle for as long as --exit-when-idle says. A run
that was interrupted may go on: its workers wait half an hour for another coordinator, and then exit with 75.

A worker executes only what it is allowed to: targets whose source lies in its current folder, or what --allow names;
and no programs but those that --allow-program names, whatever their arguments.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "worker", worker, "join the runs of a broker as a worker", DESCRIPTION)
    arguments.add_options(parser, EntryPoint.WORKER)


def worker(args: argparse.Namespace) -> int:
    """``ttg worker``"""
    chosen = arguments.chosen(args, EntryPoint.WORKER)
    if chosen.run:
        chosen = _of_run(chosen)
    from ttg.worker.launching import ahead, executed, launch
    from ttg.worker.shares import GPU, Shares

    start = executed if chosen.parent_pipe_fd is None else ahead()
    shares = Shares(chosen.threads, chosen.gpus, os.environ)
    early = range(min(chosen.slots, os.cpu_count() or 1))
    first = {slot: launch(start, shares.of(slot)) for slot in early}  # they start while we import

    import asyncio

    from ttg.allocation import keep_freed_memory
    from ttg.brokers import connect
    from ttg.logs import bound_log
    from ttg.worker.config import WorkerConfig
    from ttg.worker.supervisor import run_worker

    settings = arguments.read_settings(chosen)
    if chosen.log_file:
        bound_log(chosen.log_file)
    if chosen.echo_fd is not None:
        from ttg.worker.output import Echo

        Echo.start(chosen.echo_fd)
    if chosen.run:
        from ttg.run.secret import with_secret

        settings = with_secret(settings)
    url = chosen.broker or settings.broker_url
    if not url:
        raise SettingsError(
            "expected a broker: give --broker URL, or set TTG_BROKER or QUEUE_BACKEND; "
            "or help a run of this machine that has an embedded broker, with --run RUN"
        )
    name = chosen.name or f"{socket.gethostname()}-{os.getpid()}"
    config = WorkerConfig(
        name=name,
        slots=chosen.slots,
        allow=chosen.allow,
        allow_programs=chosen.allow_program,
        labels=(*settings.labels, *chosen.label, *([GPU] if chosen.gpus else [])),
        until_run_done=chosen.until_run,
        exit_when_idle_seconds=chosen.exit_when_idle,
        give_up_seconds=EMBEDDED_GONE_SECONDS if chosen.run else None,
        grace_seconds=chosen.grace,
        secret=settings.secret,
        parent_pipe_fd=chosen.parent_pipe_fd,
        metrics_port=chosen.metrics_port,
        metrics_host=chosen.metrics_host,
    )
    broker = connect(settings.broker_config(url), name)
    gc.freeze()  # what was imported is no garbage
    keep_freed_memory()
    summary = asyncio.run(run_worker(broker, config, shares, first))
    show(sys.stdout, summary.to_json() + "\n")  # its exit code says what became of its work, and nothing else
    return summary.exit_code


def _of_run(chosen: Options) -> Options:
    """The run's own broker, and where it imports from; whoever names the run allows its function."""
    from ttg.function import command_of
    from ttg.worker.protocol import CALLER_PATH

    assert chosen.run is not None
    folder, url = arguments.broker_of_run(chosen.run, arguments.read_settings(chosen))
    if folder.info.python_path:
        os.environ[CALLER_PATH] = os.pathsep.join(folder.info.python_path)
    allow, programs = [
        tuple(command_of(ref)[1] for ref in folder.spec.called if (ref.kind == "program") is is_program)
        for is_program in (False, True)
    ]
    return chosen.but(
        broker=url,
        until_run=folder.spec.run,
        allow=(*chosen.allow, *allow),
        allow_program=(*chosen.allow_program, *programs),
    )
