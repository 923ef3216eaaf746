"""``ttg dashboard``."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.options import PORT, EntryPoint

if TYPE_CHECKING:
    from ttg.monitor.snapshot import Snapshot
    from ttg.settings import Settings

DESCRIPTION = """\
Watch runs, workers and results in the browser. A run that is over is opened from its folder and needs no broker, and so
are all others that this machine knows. The link that is printed holds the token that the pages ask for.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(
        subparsers, "dashboard", dashboard, "watch runs, workers and results in the browser", DESCRIPTION
    )
    arguments.add_watched(parser)
    add_serving(parser)


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Where it is served, and for whom."""
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--port", type=arguments.typed(PORT), metavar="N", help="(default: 8080 or any free one)")
    parser.add_argument("--token", help="asked of whoever opens it (default: one that is made up and printed)")


def dashboard(args: argparse.Namespace) -> int:
    """``ttg dashboard``"""
    import asyncio

    chosen = arguments.chosen(args, EntryPoint.LOOK)
    settings = arguments.read_settings(chosen)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show(settings, arguments.watched(args.run, chosen, settings), args))
    return 0


async def show(
    settings: Settings,
    watched: arguments.Watched,
    args: argparse.Namespace,
    beside: Callable[[Snapshot], Awaitable[object]] | None = None,
) -> None:
    """Serve until cancelled; ``beside`` goes on as long, if there is a broker to hear of, and folds what it knows."""
    import asyncio

    from ttg.run.services import serve

    chosen = {"host": args.host, "port": args.port, "token": args.token, "run": watched.run, "folder": watched.folder}
    async with contextlib.AsyncExitStack() as lasting:
        async with serve(watched.broker, settings, dashboard=True, lasting=lasting, **chosen) as services:
            if watched.is_private:
                await services.until_over()  # its broker ends with it; from then on its folder tells
            elif watched.broker is not None:
                await (beside(services.snapshot) if beside else asyncio.Event().wait())
        await asyncio.Event().wait()
