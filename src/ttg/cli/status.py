"""``ttg status``."""

from __future__ import annotations

import argparse
import json

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "status", status, "how far a run is")
    arguments.add_run(parser)
    arguments.add_flag(parser, "--json", "the contents of run.json, as it stands now")


def status(args: argparse.Namespace) -> int:
    """``ttg status``"""
    from ttg.run.report import Finished

    folder = arguments.find(args.run)
    if args.json:
        told = {**json.loads((folder.path / "run.json").read_text()), **Finished.of(folder).standing}
        print(json.dumps(told, indent=2))
        return 0
    print(Finished.of(folder).as_text())
    return 0
