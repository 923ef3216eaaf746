"""``ttg doctor``."""

from __future__ import annotations

import argparse

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.options import EntryPoint


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    text = "check this machine and the broker, and say what to do"
    parser = arguments.add_command(subparsers, "doctor", doctor, text)
    arguments.add_options(parser, EntryPoint.LOOK)
    arguments.add_flag(parser, "--json", "findings as JSON")


def doctor(args: argparse.Namespace) -> int:
    """``ttg doctor``"""
    import asyncio
    import json

    from ttg.run.doctor import examine

    chosen = arguments.chosen(args, EntryPoint.LOOK)
    settings = arguments.read_settings(chosen)
    findings = asyncio.run(examine(settings, chosen.broker or settings.broker_url))
    if args.json:
        arguments.put(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        arguments.put("\n".join(map(str, findings)))
    return 3 if any(finding.level == "problem" for finding in findings) else 0
