"""``ttg runs``."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers

if TYPE_CHECKING:
    from ttg.results.folder import RunFolder


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "runs", runs, "list the runs of this machine")
    arguments.add_flag(parser, "--json", "one JSON object per line")


def runs(args: argparse.Namespace) -> int:
    """``ttg runs``"""
    from ttg.results.folder import list_runs
    from ttg.settings import read_settings

    folders = list_runs(read_settings().home)
    if args.json:
        for folder in folders:
            print(json.dumps(_brief(folder)))
        return 0
    if not folders:
        print("no runs yet: `ttg run --help` shows how to start one")
        return 0
    rows = [_brief(folder) for folder in folders]
    print(f"{'RUN':<34} {'STATE':<27} {'DONE':>12} {'FAILED':>8} {'OF':>12}  FOLDER")
    for row in rows:
        counts = f"{row['done']:>12,} {row['dead']:>8,} {row['size']:>12,}"
        print(f"{row['run']:<34} {row['state']:<27} {counts}  {row['folder']}")
    return 0


def _brief(folder: RunFolder) -> dict[str, Any]:
    from ttg.run.report import counts

    info = folder.info
    done, dead = counts(folder)
    return {
        "run": info.spec.run,
        "state": folder.status,
        "done": done,
        "dead": dead,
        "size": info.size,
        "function": str(info.spec.function),
        "folder": str(folder.path),
    }
