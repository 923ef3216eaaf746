"""``ttg monitor``."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.options import TIME, EntryPoint

if TYPE_CHECKING:
    from ttg.brokers.base import Broker, BrokerConfig
    from ttg.cli.arguments import Watched

DESCRIPTION = """\
Watch queues, runs and workers in the terminal: those of a broker until Ctrl-C, a run until it ends.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(
        subparsers, "monitor", monitor, "watch queues, runs and workers in the terminal", DESCRIPTION
    )
    arguments.add_watched(parser)
    text = "look again after so long, e.g. 500ms (default: 2s)"
    parser.add_argument("--watch", type=arguments.typed(TIME), default=2.0, metavar="TIME", help=text)
    arguments.add_flag(parser, "--once", "look once and exit")
    arguments.add_flag(parser, "--json", "one JSON object per look")


def monitor(args: argparse.Namespace) -> int:
    """``ttg monitor``"""
    import asyncio

    chosen = arguments.chosen(args, EntryPoint.LOOK)
    watched = arguments.watched(args.run, chosen, arguments.read_settings(chosen))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_monitor(watched, args))
    return 0


async def _monitor(watched: Watched, args: argparse.Namespace) -> None:
    from ttg.monitor.screen import monitor, show

    seen = None
    if watched.broker is not None and (broker := await _opened(watched, watched.broker)):
        watch_seconds = None if args.once else args.watch
        seen = await monitor(broker, watch_seconds=watch_seconds, as_json=args.json, until=watched.is_over)
        if seen is None:
            return
    if seen is None or not seen.has_ended(watched.run):
        from ttg.run.run_on_disk import snapshot_of

        assert watched.folder is not None
        seen = snapshot_of(watched.folder.read_again())
    show(seen, as_json=args.json)


async def _opened(watched: Watched, config: BrokerConfig) -> Broker | None:
    """The broker; ``None`` if it has left with the run that it was for, which has just ended."""
    from ttg.brokers import connect
    from ttg.errors import BrokerUnavailable
    from ttg.messages import RunStatus

    broker = connect(config, f"monitor-{os.getpid()}")
    try:
        await broker.open()
    except BrokerUnavailable:
        if watched.folder is None or watched.folder.read_again().status is RunStatus.ACTIVE:
            raise
        return None
    return broker
