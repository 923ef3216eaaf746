"""A run that somebody leads, at its broker: for the commands that change its record from outside."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from ttg.cli import arguments
from ttg.errors import InputError
from ttg.options import EntryPoint

if TYPE_CHECKING:
    from ttg.brokers.base import Broker
    from ttg.settings import Settings

T = TypeVar("T")


def embedded_broker(run: str) -> str | None:
    """The address of a run's own broker, if it has one and that is up."""
    from ttg.brokers.embedded import url_of

    with suppress(InputError):  # a run of another machine
        return url_of(arguments.find(run).path)
    return None


def id_of(text: str) -> str:
    """The id of the run that a person means; the broker may know runs of other machines, by their ids."""
    try:
        return arguments.find(text).spec.run
    except InputError:
        if text == "last":
            raise
        return text


async def at(url: str, settings: Settings, work: Callable[[Broker], Awaitable[T]]) -> T:
    """What ``work`` gives, with the broker at ``url``, which is closed again."""
    from ttg.brokers import connect

    broker = connect(settings.broker_config(url), "command")
    try:
        return await work(broker)
    finally:
        await broker.close()


def change(args: argparse.Namespace, work: Callable[[Broker, str], Awaitable[T]]) -> tuple[str, T]:
    """The id of the run of ``args``, and what ``work`` with its broker and id gives. ``InputError`` if it has none."""
    import asyncio

    chosen = arguments.chosen(args, EntryPoint.LOOK)
    settings = arguments.read_settings(chosen)
    url = chosen.broker or embedded_broker(args.run) or settings.broker_url
    run = id_of(args.run)
    if url is None:
        raise InputError(f"run {run} is not going on here: name its broker with --broker if it does elsewhere")
    return run, asyncio.run(at(url, settings, lambda broker: work(broker, run)))
