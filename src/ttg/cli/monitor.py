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
    from ttg.brokers.base import BrokerConfig


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "monitor", monitor, "watch queues, runs and workers in the terminal")
    arguments.add_watched(parser)
    text = "look again after so long, e.g. 500ms (default: 2s)"
    parser.add_argument("--watch", type=arguments.typed(TIME), default=2.0, metavar="TIME", help=text)
    arguments.add_flag(parser, "--once", "look once and exit")
    arguments.add_flag(parser, "--json", "one JSON object per look")


def monitor(args: argparse.Namespace) -> int:
    """``ttg monitor``"""
    import asyncio

    chosen = arguments.chosen(args, EntryPoint.LOOK)
    config = arguments.watched_broker(args.run, chosen, arguments.read_settings(chosen))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_monitor(config, args))
    return 0


async def _monitor(config: BrokerConfig, args: argparse.Namespace) -> None:
    from ttg.brokers import connect
    from ttg.monitor.terminal import monitor

    broker = connect(config, f"monitor-{os.getpid()}")
    await broker.open()
    await monitor(broker, watch_seconds=None if args.once else args.watch, as_json=args.json)
