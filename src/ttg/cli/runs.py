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
List the runs that were started in this folder or below, or lie there, oldest first. DONE is how many parameters have a
result, FAILED how many were given up.
"""
LEFT = ("RUN", "STATE", "FOLDER")
SHORTEST_NAME = 8


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
    from ttg.monitor.words import as_duration, as_moment
    from ttg.run.reporter import human_count

    facts = _facts(folder)
    going_on = folder.status is RunStatus.ACTIVE and not facts["seconds"]
    took = max(0.0, unix_time() - facts["started"]) if going_on else facts["seconds"]
    state = RunStatus.FINISHED if folder.status.is_finished else folder.status  # FAILED says the rest
    return {
        "RUN": facts["run"],
        "STATE": state.words,
        "DONE": f"{human_count(facts['done'])}/{human_count(facts['size'])}",
        "FAILED": human_count(facts["dead"]),
        "STARTED": as_moment(facts["started"], unix_time()),
        "TOOK": as_duration(took),
        "FOLDER": str(folder.path.relative_to(here) if folder.path.is_relative_to(here) else folder.path),
    }


def _width() -> int | None:
    """How wide a line may be; no bound where nobody looks."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _table(rows: Sequence[dict[str, str]], width: int | None) -> list[str]:
    """A line for each run; where ``width`` has no room, without its folder and, if need be, without the id's end."""
    if not rows:
        return []
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    if width is not None and _total(widths) > width:
        del widths["FOLDER"]
        widths["RUN"] = max(SHORTEST_NAME, widths["RUN"] - max(0, _total(widths) - width))
    return [_line(row, widths) for row in (dict(zip(widths, widths, strict=True)), *rows)]


def _total(widths: dict[str, int]) -> int:
    return sum(widths.values()) + 2 * len(widths) - 2


def _line(row: dict[str, str], widths: dict[str, int]) -> str:
    cells = (
        _cut(row[name], width).ljust(width) if name in LEFT else row[name].rjust(width)
        for name, width in widths.items()
    )
    return "  ".join(cells).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
