"""``ttg logs``."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers

if TYPE_CHECKING:
    from ttg.results.folder import RunFolder

DESCRIPTION = """\
Print what the local workers of a run logged, with what its function printed there; with an INDEX, what was printed for
that parameter only, in all of its attempts. Lines of the function have the run and the index: `price-1123[17]: …`; of
compiled code whose calls are fast, those of the group of calls: `price-1123[17-48]: …`.

Workers that were started elsewhere (`ttg worker`, pods) keep their logs where they run; it is said when there were any.
"""
LOCAL_NAME = re.compile(r"w(\d+)(\.\d+)?-[0-9a-f]+")
LOG_NAME = re.compile(r"worker-(\d+)\.log(?:\.(\d+))?")


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    text = "what a run's local workers logged, and what the function printed"
    parser = arguments.add_command(subparsers, "logs", logs, text, DESCRIPTION)
    arguments.add_run(parser)
    parser.add_argument("index", nargs="?", metavar="INDEX", help="only what was printed for this parameter")


def logs(args: argparse.Namespace) -> int:
    """``ttg logs``"""
    given = [word for word in (args.run, args.index) if word is not None]
    lone_index = args.run.isdecimal() and not Path(args.run).exists()
    run, text = arguments.run_and_index(given) if args.index or lone_index else (args.run, None)
    folder = arguments.find(run)
    index = None if text is None else arguments.index_of(text, folder)
    files = _files(folder.logs)
    wanted = _of_index(folder.spec.run, index)
    printed = False
    for file in files:
        start = f"{file.stem} | " if len(files) > 1 else ""
        for line in filter(wanted, _lines(file)):
            print(f"{start}{line}")
            printed = True
    if remark := _remark_on_all(folder) if index is None else _remark_on(folder, index, printed=printed):
        arguments.say(f"ttg: {remark}")
    return 0


def _files(logs: Path) -> list[Path]:
    """The logs by number; what was set aside of one, the oldest first."""
    found = [(match, path) for path in logs.glob("worker-*") if (match := LOG_NAME.fullmatch(path.name))]
    return [path for match, path in sorted(found, key=lambda pair: (int(pair[0][1]), -int(pair[0][2] or 0)))]


def _lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            yield line.rstrip("\n")


def _of_index(run: str, index: int | None) -> Callable[[str], bool]:
    """Whether a line is what was printed for ``index``; all are, when none is asked for."""
    if index is None:
        return lambda line: True
    place = re.compile(rf"slot \d+ {re.escape(run)}\[(\d+)(?:-(\d+))?\]: ")

    def wanted(line: str) -> bool:
        found = place.search(_text(line))
        return found is not None and int(found[1]) <= index <= int(found[2] or found[1])

    return wanted


def _text(line: str) -> str:
    """The text of a line, which may be in JSON (``LOG_FORMAT=json``)."""
    if not line.startswith("{"):
        return line
    try:
        return str(json.loads(line)["text"])
    except (ValueError, KeyError, TypeError):
        return line


def _remark_on(folder: RunFolder, index: int, *, printed: bool) -> str:
    from ttg.results.executors import executor_of

    worker = executor_of(folder, index)
    if worker and not _has_log(folder, worker):
        return f"parameter {index} was settled by worker {worker}, which keeps its log where it runs"
    if printed:
        return ""
    return f"parameter {index} printed nothing here{'' if worker else ', and is not settled yet'}"


def _remark_on_all(folder: RunFolder) -> str:
    from ttg.results.executors import some_workers

    others = sorted(name for name in some_workers(folder) if not _has_log(folder, name))
    if not others:
        return "" if _files(folder.logs) else f"run {folder.spec.run} has had no local workers"
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"workers {', '.join(others[:3])}{more} took part, which keep their logs where they run"


def _has_log(folder: RunFolder, worker: str) -> bool:
    local = LOCAL_NAME.fullmatch(worker)
    return local is not None and (folder.logs / f"worker-{local[1]}.log").exists()
