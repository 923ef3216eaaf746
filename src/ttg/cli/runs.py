"""``ttg runs``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers

if TYPE_CHECKING:
    from ttg.results.folder import RunFolder

DESCRIPTION = """\
List the runs that were started in this folder or below, or lie there, oldest first. TIME is how long they took, AGE how
long ago they were started.
"""
DISPENSABLE = ("FOLDER", "TIME", "OF")  # left out of a terminal that is too narrow, one after the other


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "runs", runs, "list the runs of this folder", DESCRIPTION)
    arguments.add_flag(parser, "--all", "those of all folders of this machine")
    arguments.add_flag(parser, "--json", "one JSON object per line")


def runs(args: argparse.Namespace) -> int:
    """``ttg runs``"""
    from ttg.results.folder import list_runs, list_runs_of
    from ttg.settings import read_settings

    home, here = read_settings().home, Path.cwd()
    folders = list_runs(home) if args.all else list_runs_of(here, home)
    if args.json:
        for folder in folders:
            print(json.dumps(_facts(folder)))
        return 0
    for line in _table([_row(folder, here) for folder in folders], _width()):
        print(line)
    elsewhere = 0 if args.all else len(list_runs(home)) - len(folders)
    if elsewhere:
        arguments.say(f"{'' if folders else 'no runs of this folder; '}{elsewhere} of other folders: `ttg runs --all`")
    elif not folders:
        print("no runs yet: `ttg run --help` shows how to start one")
    return 0


def _facts(folder: RunFolder) -> dict[str, Any]:
    from ttg.run.report import counts

    info = folder.info
    done, dead = counts(folder)
    return {
        "run": info.spec.run,
        "state": folder.status,
        "done": done,
        "dead": dead,
        "size": info.size,
        "seconds": round(info.seconds, 3),
        "started": info.created,
        "started_in": info.started_in,
        "function": str(info.spec.function),
        "folder": str(folder.path),
    }


def _row(folder: RunFolder, here: Path) -> dict[str, str]:
    from ttg.clock import unix_time
    from ttg.messages import RunStatus
    from ttg.monitor.words import as_duration
    from ttg.run.reporter import human_count

    facts = _facts(folder)
    age = max(0.0, unix_time() - facts["started"])
    going_on = folder.status is RunStatus.ACTIVE and not facts["seconds"]
    return {
        "RUN": facts["run"],
        "STATE": folder.status.words,
        "DONE": human_count(facts["done"]),
        "FAILED": human_count(facts["dead"]),
        "OF": human_count(facts["size"]),
        "TIME": as_duration(age if going_on else facts["seconds"]),
        "AGE": as_duration(age),
        "FOLDER": str(folder.path.relative_to(here) if folder.path.is_relative_to(here) else folder.path),
    }


def _width() -> int | None:
    """How wide a line may be; no bound where nobody looks."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _table(rows: Sequence[dict[str, str]], width: int | None) -> list[str]:
    """The lines of a table as narrow as its contents; without the :data:`DISPENSABLE` columns that ``width`` has no
    room for."""
    if not rows:
        return []
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    for name in DISPENSABLE:
        if width is not None and sum(widths[kept] + 2 for kept in names) - 2 > width:
            names.remove(name)
    return [_line(row, {name: widths[name] for name in names}) for row in (dict(zip(names, names, strict=True)), *rows)]


def _line(row: dict[str, str], widths: dict[str, int]) -> str:
    cells = (
        row[name].ljust(width) if name in ("RUN", "STATE", "FOLDER") else row[name].rjust(width)
        for name, width in widths.items()
    )
    return "  ".join(cells).rstrip()
