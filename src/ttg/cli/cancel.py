"""``ttg cancel``."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import InputError
from ttg.options import EntryPoint

if TYPE_CHECKING:
    from ttg.brokers.base import Broker
    from ttg.results.folder import RunFolder
    from ttg.settings import Settings

T = TypeVar("T")

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
    if not chosen.broker and (url := _embedded_broker(args.run)):
        return _cancel_embedded(url, arguments.find(args.run), settings)
    url = chosen.broker or settings.broker_url
    if url is None:
        return _interrupt(arguments.find(args.run))
    import asyncio

    from ttg.run.cancel import cancel as cancel_run

    run = _id_of(args.run)
    counts = asyncio.run(_at(url, settings, lambda broker: cancel_run(broker, run)))
    removed = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()) if count) or "nothing was left"
    arguments.say(f"run {run} is cancelled; removed {removed}")
    return 0


def _embedded_broker(run: str) -> str | None:
    from ttg.brokers.embedded import url_of

    with suppress(InputError):  # a run of another machine
        return url_of(arguments.find(run).path)
    return None


def _cancel_embedded(url: str, folder: RunFolder, settings: Settings) -> int:
    import asyncio

    from ttg.run.cancel import cancel_embedded

    run = folder.spec.run
    asyncio.run(_at(url, settings, lambda broker: cancel_embedded(broker, run)))
    arguments.say(
        f"run {run} is cancelled: it ends as soon as its workers have left; `ttg resume {run}` goes on with it"
    )
    return 0


def _id_of(text: str) -> str:
    """The id of the run that a person means; the broker may know runs of other machines, by their ids."""
    try:
        return arguments.find(text).spec.run
    except InputError:
        if text == "last":
            raise
        return text


async def _at(url: str, settings: Settings, cancel: Callable[[Broker], Awaitable[T]]) -> T:
    from ttg.brokers import connect

    broker = connect(settings.broker_config(url), "cancel")
    try:
        return await cancel(broker)
    finally:
        await broker.close()


def _interrupt(folder: RunFolder) -> int:
    from ttg.run.cancel import interrupt

    interrupt(folder)
    arguments.say(f"run {folder.spec.run} is told to stop; `ttg resume {folder.spec.run}` goes on with it")
    return 0
