"""``ttg unpause``."""

from __future__ import annotations

import argparse

from ttg.cli import arguments, led_run
from ttg.cli.arguments import Subparsers
from ttg.options import EntryPoint


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "unpause", unpause, "go on with a run that `ttg pause` paused")
    arguments.add_run(parser, required=True)
    arguments.add_options(parser, EntryPoint.LOOK)


def unpause(args: argparse.Namespace) -> int:
    """``ttg unpause``"""
    from ttg.run.steering import pause

    run, _ = led_run.change(args, lambda broker, run: pause(broker, run, paused=False))
    arguments.say(f"run {run} goes on")
    return 0
