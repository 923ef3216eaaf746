"""``ttg cancel``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import InputError
from ttg.options import EntryPoint

if TYPE_CHECKING:
    from ttg.results.folder import RunFolder

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
    url = chosen.broker or settings.broker_url
    if url is None:
        return _interrupt(arguments.find(args.run))
    import asyncio

    run = _id_of(args.run)
    counts = asyncio.run(_cancel_at(url, run, settings))
    removed = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()) if count) or "nothing was left"
    arguments.say(f"run {run} is cancelled; removed {removed}")
    return 0


def _id_of(text: str) -> str:
    """The id of the run that a person means; the broker may know runs of other machines, by their ids."""
    try:
        return arguments.find(text).spec.run
    except InputError:
        if text == "last":
            raise
        return text


async def _cancel_at(url: str, run: str, settings: Any) -> Mapping[str, int]:
    from ttg.brokers import connect
    from ttg.run.cancel import cancel as cancel_run

    broker = connect(settings.broker_config(url), "cancel")
    try:
        return await cancel_run(broker, run)
    finally:
        await broker.close()


def _interrupt(folder: RunFolder) -> int:
    from ttg.run.cancel import interrupt

    interrupt(folder)
    arguments.say(f"run {folder.spec.run} is told to stop; `ttg resume {folder.spec.run}` goes on with it")
    return 0
