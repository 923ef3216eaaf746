"""``ttg cancel``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ttg.cli import arguments, led_run
from ttg.cli.arguments import Subparsers
from ttg.options import EntryPoint

if TYPE_CHECKING:
    from ttg.results.folder import RunFolder
    from ttg.settings import Settings

DESCRIPTION = """\
Stop a run on all workers within seconds and remove its messages, and no others, from the broker.
What was collected stays in its table; `ttg resume` goes on with the rest.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(
        subparsers, "cancel", cancel, "stop a run everywhere and remove its messages", DESCRIPTION
    )
    arguments.add_run(parser, required=True)
    arguments.add_options(parser, EntryPoint.LOOK)


def cancel(args: argparse.Namespace) -> int:
    """``ttg cancel``"""
    chosen = arguments.chosen(args, EntryPoint.LOOK)
    settings = arguments.read_settings(chosen)
    if not chosen.broker and (url := led_run.embedded_broker(args.run)):
        return _cancel_embedded(url, arguments.find(args.run), settings)
    url = chosen.broker or settings.broker_url
    if url is None:
        return _interrupt(arguments.find(args.run))
    import asyncio

    from ttg.run.cancel import cancel as cancel_run

    run = led_run.id_of(args.run)
    counts = asyncio.run(led_run.at(url, settings, lambda broker: cancel_run(broker, run)))
    removed = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()) if count) or "nothing was left"
    arguments.say(f"run {run} is cancelled; removed {removed}")
    return 0


def _cancel_embedded(url: str, folder: RunFolder, settings: Settings) -> int:
    import asyncio

    from ttg.run.cancel import cancel_embedded

    run = folder.spec.run
    asyncio.run(led_run.at(url, settings, lambda broker: cancel_embedded(broker, run)))
    arguments.say(
        f"run {run} is cancelled: it ends as soon as its workers have left; `ttg resume {run}` goes on with it"
    )
    return 0


def _interrupt(folder: RunFolder) -> int:
    from ttg.run.cancel import interrupt

    interrupt(folder)
    arguments.say(f"run {folder.spec.run} is told to stop; `ttg resume {folder.spec.run}` goes on with it")
    return 0
