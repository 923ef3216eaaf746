"""``ttg plan``."""

from __future__ import annotations

import argparse

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.cli.run import new_run
from ttg.options import EntryPoint, Options, choose, options_at

DESCRIPTION = """\
Run about 100 evenly spread parameters with an embedded broker, and predict duration, chunks, broker load, memory and
table size of the whole. Takes the command of a `ttg run`; leaves nothing behind.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    text = "run a small sample and say what the whole would take"
    parser = arguments.add_command(subparsers, "plan", plan, text, DESCRIPTION)
    arguments.add_sweep(parser)
    arguments.add_options(parser, EntryPoint.PLAN, EntryPoint.RUN)


def plan(args: argparse.Namespace) -> int:
    """``ttg plan``"""
    import asyncio
    import json

    from ttg.run.forecast import forecast

    chosen = _chosen(args)
    found = asyncio.run(forecast(new_run(args, chosen), arguments.say))
    print(json.dumps(found.as_dict()) if chosen.json else found)
    return 0


def _chosen(args: argparse.Namespace) -> Options:
    """A forecast is made of the command as it will be given: what does not change it is checked, and said."""
    given = arguments.given(args)
    choose(EntryPoint.RUN, given)
    here = {option.name: option for option in options_at(EntryPoint.RUN, EntryPoint.PLAN)}
    without = [here[name].flag(EntryPoint.RUN) for name in given if EntryPoint.PLAN not in here[name].at]
    if without:
        arguments.say(f"without influence on a forecast: {', '.join(without)}")
    return choose(EntryPoint.PLAN, {name: value for name, value in given.items() if EntryPoint.PLAN in here[name].at})
