"""``ttg doctor``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import SettingsError
from ttg.options import EntryPoint, Options

if TYPE_CHECKING:
    from ttg.settings import Settings

CONSEQUENCES = (
    "Coordinators submit again what is missing, and what was not collected is computed again. `ttg resume` goes on "
    "with runs that nobody coordinates now. All dead letters are in the datasets."
)


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    text = "check this machine and the broker, and say what to do"
    parser = arguments.add_command(subparsers, "doctor", doctor, text)
    arguments.add_options(parser, EntryPoint.DOCTOR)
    arguments.add_flag(parser, "--json", "findings as JSON")
    arguments.add_flag(parser, "--repair", "replace queues that serve nobody, after saying what is lost and asking")
    arguments.add_flag(parser, "--force", "with --repair: do not ask")


def doctor(args: argparse.Namespace) -> int:
    """``ttg doctor``"""
    import asyncio
    import json

    from ttg.run.doctor import examine

    chosen = arguments.chosen(args, EntryPoint.DOCTOR)
    settings = arguments.read_settings(chosen)
    if args.repair:
        _repair(chosen, settings, force=args.force)
    elif args.force:
        raise SettingsError("--force goes with --repair")
    findings = asyncio.run(examine(settings, chosen.broker or settings.broker_url, chosen.store or settings.store))
    if args.json:
        arguments.put(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        arguments.put("\n".join(map(str, findings)))
    return 3 if any(finding.level == "problem" for finding in findings) else 0


def _repair(chosen: Options, settings: Settings, *, force: bool) -> None:
    """Only by decision of who is there to answer, or said ``--force``."""
    import asyncio

    from ttg.run.doctor import find_unserved, loss_of, repair

    url = chosen.broker or settings.broker_url
    if not url:
        raise SettingsError("--repair: expected a broker: give --broker URL, or set TTG_BROKER")
    config = settings.broker_config(url)
    unserved = asyncio.run(find_unserved(config))
    for queue in unserved:
        arguments.say(loss_of(queue))
    if all(queue.obstacle for queue in unserved):
        arguments.say("nothing to repair" + (" from here" if unserved else ": no queue of TTG's is without service"))
        return
    arguments.say(CONSEQUENCES)
    if force or arguments.confirmed("Replace them?", "--force to replace, or leave out --repair to look"):
        arguments.say(f"made anew: {', '.join(asyncio.run(repair(config, unserved))) or 'none, all serve again'}")
    else:
        arguments.say("nothing was changed")
