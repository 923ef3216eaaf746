"""``ttg runs`` and ``ttg status``."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttg.cli.arguments import Subparsers
    from ttg.results.folder import RunFolder

RUN_HELP = "id, beginning of an id, folder or 'last' (default: last)"


def add(subparsers: Subparsers) -> None:
    """Register the sub-commands."""
    runs_parser = subparsers.add_parser("runs", help="list the runs of this machine")
    runs_parser.add_argument("--json", action="store_true", help="one JSON object per line")
    runs_parser.set_defaults(call=runs)

    status_parser = subparsers.add_parser("status", help="how far a run is")
    status_parser.add_argument("run", nargs="?", default="last", metavar="RUN", help=RUN_HELP)
    status_parser.add_argument("--json", action="store_true", help="the contents of run.json")
    status_parser.set_defaults(call=status)


def find(text: str) -> RunFolder:
    """The run that a person means."""
    from ttg.results.folder import find_run
    from ttg.settings import read_settings

    return find_run(text, read_settings().home)


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
    info = folder.info
    return {
        "run": info.spec.run,
        "state": info.state,
        "done": info.done,
        "dead": info.dead,
        "size": info.size,
        "function": str(info.spec.function),
        "folder": str(folder.path),
    }


def status(args: argparse.Namespace) -> int:
    """``ttg status``"""
    from ttg.run.report import Finished

    folder = find(args.run)
    if args.json:
        print((folder.path / "run.json").read_text())
        return 0
    print(Finished.of(folder, folder.info.state).as_text())
    return 0
