"""``ttg retry``."""

from __future__ import annotations

import argparse

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.cli.resume import go_on
from ttg.options import EntryPoint


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    description = "Run dead letters again, all or some. Those that succeed now become rows of the run's table."
    text = "run dead letters again, after the function was mended"
    parser = arguments.add_command(subparsers, "retry", retry, text, description)
    arguments.add_run(parser, required=True)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--index", metavar="1,2,5-9", help="only these")
    which.add_argument("--group", metavar="N|TEXT", help="only those of one cause, as `ttg failed --group` lists them")
    arguments.add_options(parser, EntryPoint.RETRY)


def retry(args: argparse.Namespace) -> int:
    """``ttg retry``. The function may have changed: that is what a retry is for."""
    from ttg.results.dead_letters import causes
    from ttg.run.replay import chosen_indices

    chosen = arguments.chosen(args, EntryPoint.RETRY)
    dead = chosen_indices(causes(arguments.find(args.run)), args.index, args.group)
    return go_on(args.run, chosen.but(force=True, retry_dead=dead))
