"""``ttg pause``."""

from __future__ import annotations

import argparse

from ttg.cli import arguments, led_run
from ttg.cli.arguments import Subparsers
from ttg.options import EntryPoint

DESCRIPTION = """\
Begin nothing more of a run. What is being executed is finished (two seconds of it, or one call if that takes longer),
and so are retries; then its workers are free for other runs. Coordinator and workers stay: `ttg unpause` goes on.
What is still executed at that moment may be executed twice, and is counted once.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "pause", pause, "begin nothing more of a run for now", DESCRIPTION)
    arguments.add_run(parser, required=True)
    arguments.add_options(parser, EntryPoint.LOOK)


def pause(args: argparse.Namespace) -> int:
    """``ttg pause``"""
    from ttg.run.steering import pause as pause_run

    run, _ = led_run.change(args, lambda broker, run: pause_run(broker, run, paused=True))
    arguments.say(f"run {run} is paused: what is being executed is finished; `ttg unpause {run}` goes on")
    return 0
