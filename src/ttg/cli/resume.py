"""``ttg resume``."""

from __future__ import annotations

import argparse

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.cli.run import carry_out
from ttg.options import EntryPoint, Options


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    description = (
        "Go on with what is missing of a run. Refuses when the function, a module of yours that it imports, or the "
        "space has changed, and shows how."
    )
    parser = arguments.add_command(subparsers, "resume", resume, "go on with an interrupted run", description)
    arguments.add_run(parser)
    arguments.add_options(parser, EntryPoint.RESUME)


def resume(args: argparse.Namespace) -> int:
    """``ttg resume``"""
    return go_on(args.run, arguments.chosen(args, EntryPoint.RESUME))


def go_on(run: str, chosen: Options) -> int:
    """Go on with a run that is there."""
    from ttg.run.request import resume_request

    return carry_out(resume_request(run, arguments.read_settings(), chosen), chosen)
