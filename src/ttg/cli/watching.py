"""``ttg monitor`` and ``ttg dashboard``."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.errors import SettingsError

if TYPE_CHECKING:
    from ttg.brokers.base import BrokerConfig
    from ttg.cli.arguments import Subparsers
    from ttg.settings import Settings


def add(subparsers: Subparsers) -> None:
    """Register the sub-commands."""
    monitor_parser = subparsers.add_parser("monitor", help="watch queues, runs and workers in the terminal")
    _add_what(monitor_parser)
    monitor_parser.add_argument("--watch", type=float, default=2.0, metavar="SECONDS", help="look again (default: 2)")
    monitor_parser.add_argument("--once", action="store_true", help="look once and exit")
    monitor_parser.add_argument("--json", action="store_true", help="one JSON object per look")
    monitor_parser.set_defaults(call=monitor)

    dashboard_parser = subparsers.add_parser("dashboard", help="watch runs, workers and results in the browser")
    _add_what(dashboard_parser)
    dashboard_parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    dashboard_parser.add_argument("--port", type=arguments.port, metavar="N", help="(default: 8080 or any free one)")
    dashboard_parser.add_argument("--token", help="asked of whoever opens it (made up if --host is not loopback)")
    dashboard_parser.set_defaults(call=dashboard)


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="a run with an embedded broker: id, folder or 'last' (default: the broker; without one, 'last')",
    )
    arguments.add_broker(parser)


def monitor(args: argparse.Namespace) -> int:
    """``ttg monitor``"""
    import asyncio

    if args.watch <= 0:
        raise SettingsError(f"--watch: expected seconds above 0, got {args.watch:g}")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_monitor(_broker(arguments.read_settings(args), args), args))
    return 0


async def _monitor(config: BrokerConfig, args: argparse.Namespace) -> None:
    from ttg.brokers import connect
    from ttg.monitor.terminal import monitor

    broker = connect(config, f"monitor-{os.getpid()}")
    await broker.open()
    await monitor(broker, watch_seconds=None if args.once else args.watch, as_json=args.json)


def dashboard(args: argparse.Namespace) -> int:
    """``ttg dashboard``"""
    import asyncio

    settings = arguments.read_settings(args)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_dashboard(settings, _broker(settings, args), args))
    return 0


async def _dashboard(settings: Settings, config: BrokerConfig, args: argparse.Namespace) -> None:
    import asyncio

    from ttg.run.services import serve

    async with serve(config, settings, dashboard=True, host=args.host, port=args.port, token=args.token):
        await asyncio.Event().wait()


def _broker(settings: Settings, args: argparse.Namespace) -> BrokerConfig:
    url = args.broker or (None if args.run else settings.broker_url)
    if url is None:
        _, url = arguments.broker_of_run(args.run or "last", settings)
    return settings.broker_config(url)
