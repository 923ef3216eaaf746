"""``ttg worker``."""

from __future__ import annotations

import argparse
import os
import socket
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.errors import SettingsError

if TYPE_CHECKING:
    from ttg.cli.arguments import Subparsers
    from ttg.settings import Settings

EMBEDDED_GONE_SECONDS = 5.0

DESCRIPTION = """\
Work on the tasks of whatever runs this broker knows. Ends with a JSON summary as its last lines, also after SIGTERM:
then it settles what is done, gives back the rest (nothing is charged), and exits with 75. It exits with 0 only when
the run it was started for (--until-run) is finished, or when it was idle for as long as --exit-when-idle says.

A worker executes only what it is allowed to: targets whose source lies in its current folder, or what --allow names.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = subparsers.add_parser(
        "worker",
        help="join the runs of a broker as a worker",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_broker(parser)
    parser.add_argument("--run", metavar="RUN", help="help this run of this machine, which uses an embedded broker")
    parser.add_argument("--slots", type=int, default=1, metavar="N", help="child processes at once (default: 1)")
    parser.add_argument("--name", help="name in logs and views (default: host-pid)")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="TARGET",
        help="sim.py:price, 'models.*:*', '*', or '.' (this folder)",
    )
    parser.add_argument("--until-run", metavar="RUN", help="exit when this run is finished")
    parser.add_argument("--exit-when-idle", metavar="TIME", help="exit after so long without a task")
    parser.add_argument("--grace", default="8s", metavar="TIME", help="time to drain after SIGTERM (default: 8s)")
    parser.add_argument("--metrics-port", type=arguments.port, metavar="PORT", help="serve metrics and /healthz here")
    parser.add_argument("--metrics-host", default="127.0.0.1", metavar="ADDRESS", help="where (default: 127.0.0.1)")
    parser.add_argument("--parent-pipe-fd", type=int, help=argparse.SUPPRESS)
    parser.set_defaults(call=worker)


def worker(args: argparse.Namespace) -> int:
    """``ttg worker``"""
    from ttg.worker.launching import launch

    ahead = [launch() for _ in range(min(args.slots, os.cpu_count() or 1))]  # they start while we import

    import asyncio

    from ttg import units
    from ttg.allocation import keep_freed_memory
    from ttg.brokers import connect
    from ttg.worker.config import WorkerConfig
    from ttg.worker.supervisor import run_worker

    settings = arguments.read_settings(args)
    url = _join(args, settings) if args.run else args.broker or settings.broker_url
    if not url:
        raise SettingsError(
            "expected a broker: give --broker URL, or set TTG_BROKER or QUEUE_BACKEND; "
            "or help a run of this machine that has an embedded broker, with --run RUN"
        )
    name = args.name or f"{socket.gethostname()}-{os.getpid()}"
    config = WorkerConfig(
        name=name,
        slots=args.slots,
        allow=tuple(args.allow),
        until_run_done=args.until_run,
        exit_when_idle_seconds=units.seconds(args.exit_when_idle, "--exit-when-idle"),
        give_up_seconds=EMBEDDED_GONE_SECONDS if args.run else None,
        grace_seconds=units.seconds(args.grace, "--grace") or 0.0,
        secret=settings.secret,
        parent_pipe_fd=args.parent_pipe_fd,
        metrics_port=args.metrics_port,
        metrics_host=args.metrics_host,
    )
    broker = connect(settings.broker_config(url), name)
    keep_freed_memory()
    summary = asyncio.run(run_worker(broker, config, ahead))
    print(summary.to_json(), flush=True)
    return summary.exit_code


def _join(args: argparse.Namespace, settings: Settings) -> str:
    """The URL of the run's own broker; whoever names the run allows its function."""
    folder, url = arguments.broker_of_run(args.run, settings)
    args.until_run = folder.spec.run
    args.allow.append(str(folder.spec.function))
    return url
