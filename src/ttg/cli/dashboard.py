"""``ttg dashboard``."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.options import PORT, EntryPoint

if TYPE_CHECKING:
    from ttg.brokers.base import BrokerConfig
    from ttg.settings import Settings


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "dashboard", dashboard, "watch runs, workers and results in the browser")
    arguments.add_watched(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--port", type=arguments.typed(PORT), metavar="N", help="(default: 8080 or any free one)")
    parser.add_argument("--token", help="asked of whoever opens it (made up if --host is not loopback)")


def dashboard(args: argparse.Namespace) -> int:
    """``ttg dashboard``"""
    import asyncio

    chosen = arguments.chosen(args, EntryPoint.LOOK)
    settings = arguments.read_settings(chosen)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_dashboard(settings, arguments.watched_broker(args.run, chosen, settings), args))
    return 0


async def _dashboard(settings: Settings, config: BrokerConfig, args: argparse.Namespace) -> None:
    import asyncio

    from ttg.run.services import serve

    async with serve(config, settings, dashboard=True, host=args.host, port=args.port, token=args.token):
        await asyncio.Event().wait()
