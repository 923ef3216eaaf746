"""``ttg status``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ttg.cli import arguments

if TYPE_CHECKING:
    from ttg.cli.arguments import Subparsers


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "status", "how far a run is")
    arguments.add_run(parser)
    arguments.add_flag(parser, "--json", "the contents of run.json")
    parser.set_defaults(call=status)


def status(args: argparse.Namespace) -> int:
    """``ttg status``"""
    from ttg.run.report import Finished

    folder = arguments.find(args.run)
    if args.json:
        print((folder.path / "run.json").read_text())
        return 0
    print(Finished.of(folder, folder.info.state).as_text())
    return 0
