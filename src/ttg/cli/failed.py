"""``ttg failed``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import InputError
from ttg.monitor.words import first_line, plural

if TYPE_CHECKING:
    from ttg.results.dead_letters import Cause
    from ttg.results.folder import RunFolder

SHOWN = 20
DESCRIPTION = "List the dead letters of a run. `ttg failed show INDEX [RUN]` tells the whole story of one."


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(
        subparsers, "failed", failed, "the parameters that were given up, and why", DESCRIPTION
    )
    parser.add_argument("words", nargs="*", metavar="[show INDEX] [RUN]", help=f"{arguments.RUN_HELP} (default: last)")
    arguments.add_flag(
        parser, "--group", "group them by cause: the error, and where it was raised or the exit code or signal"
    )
    parser.add_argument("--export", metavar="FILE", help="write all of them to a .jsonl or .csv file")
    arguments.add_flag(parser, "--json", "one JSON object per line")


def failed(args: argparse.Namespace) -> int:
    """``ttg failed``"""
    show = args.words[:1] == ["show"]
    words = args.words[1:] if show else args.words
    if len(words) > 1 + show or (show and not words):
        raise InputError(f"expected `ttg failed [RUN]` or `ttg failed show INDEX [RUN]`, got {' '.join(args.words)}")
    run, index = words[0] if words else "last", None
    if show:
        run, index = arguments.run_and_index(words[::-1])
    folder = arguments.find(run)
    if index is not None:
        print(_story(folder, arguments.index_of(index, folder), as_json=args.json))
    elif args.export:
        count = _export(folder, Path(args.export))
        print(f"{plural(count, 'dead letter')} written to {args.export}", file=sys.stderr)
    elif args.group:
        _print_causes(folder, as_json=args.json)
    else:
        _print_letters(folder, as_json=args.json)
    return 0


def _story(folder: RunFolder, index: int, *, as_json: bool) -> str:
    from ttg.results.dead_letters import dead_letters
    from ttg.seeds import seeds

    letter = next((letter for letter in dead_letters(folder) if letter["index"] == index), None)
    if letter is None:
        raise InputError(
            f"parameter {index} of run {folder.spec.run} is no dead letter: `ttg failed` lists them, "
            f"`ttg logs {folder.spec.run} {index}` shows what it printed"
        )
    letter |= {"seed": seeds(folder.spec.seed, index, index + 1, wide=folder.spec.wide_seeds)[0]}
    return json.dumps(letter) if as_json else _told(letter, folder.spec.run)


def _told(letter: Mapping[str, Any], run: str) -> str:
    facts = {
        "parameters": json.dumps(letter["parameters"]),
        "seed": letter["seed"],
        "error": f"{letter['error']}: {letter['message']}",
        "place": letter["place"],
        "attempts": letter["attempts"],
        "worker": letter["worker"],
        "exit code": letter["exit_code"],
        "peak memory": f"{letter['peak_memory_bytes'] >> 20} MiB" if letter["peak_memory_bytes"] else None,
        "try it here": f"`ttg call {run} {letter['index']}`",
    }
    lines = [f"{name:<12} {value}" for name, value in facts.items() if value not in (None, "")]
    if letter["traceback"]:
        lines += ["", letter["traceback"].rstrip()]
    if letter["output"]:
        lines += ["", "it printed, to standard output and standard error:", letter["output"].rstrip()]
    return "\n".join([f"parameter {letter['index']}", *lines])


def _print_letters(folder: RunFolder, *, as_json: bool) -> None:
    from ttg.results.dead_letters import dead_letters

    count = 0
    for count, letter in enumerate(dead_letters(folder), 1):
        if as_json:
            print(json.dumps(letter))
        elif count <= SHOWN:
            print(f"{letter['index']:>12}  {letter['error']}: {first_line(letter['message'])}  {letter['place']}")
    if not as_json:
        print(_conclusion(folder, count))


def _conclusion(folder: RunFolder, count: int) -> str:
    run = folder.spec.run
    if not count:
        return f"run {run} has no dead letters"
    more = f", {SHOWN} of them shown" if count > SHOWN else ""
    held = f"{plural(count, 'dead letter')}{more}"
    return f"{held}: `ttg failed show INDEX {run}` tells more, `ttg retry {run}` tries again"


def _print_causes(folder: RunFolder, *, as_json: bool) -> None:
    from ttg.results.dead_letters import causes

    found = causes(folder)
    for number, cause in enumerate(found, 1):
        print(json.dumps(_cause_facts(number, cause)) if as_json else _cause_lines(number, cause))
    if not found and not as_json:
        print(_conclusion(folder, 0))


def _cause_facts(number: int, cause: Cause) -> dict[str, Any]:
    return {
        "group": number,
        "count": cause.count,
        "error": cause.error,
        "place": cause.place,
        "ranges": cause.ranges,
        "sample": cause.sample,
    }


def _cause_lines(number: int, cause: Cause) -> str:
    sample = cause.sample
    return (
        f"{number:>3}  {cause.count:>9,}  {cause.error}  {cause.place}\n"
        f"                {first_line(sample['message'])}\n"
        f"                for example parameter {sample['index']}: {json.dumps(sample['parameters'])}"
    )


def _export(folder: RunFolder, path: Path) -> int:
    from ttg.results.dead_letters import dead_letters

    writers: dict[str, Callable[[Any, Iterable[dict[str, Any]]], int]] = {".jsonl": _write_jsonl, ".csv": _write_csv}
    if path.suffix not in writers:
        raise InputError(f"--export: expected a .jsonl or .csv file, got {path}")
    with path.open("w", encoding="utf-8", newline="") as file:
        return writers[path.suffix](file, dead_letters(folder))


def _write_jsonl(file: Any, letters: Iterable[dict[str, Any]]) -> int:
    return sum(bool(file.write(json.dumps(letter) + "\n")) for letter in letters)


def _write_csv(file: Any, letters: Iterable[dict[str, Any]]) -> int:
    import csv

    from ttg.results.dead_letters import SCHEMA

    writer = csv.DictWriter(file, SCHEMA.names)
    writer.writeheader()
    rows = (letter | {"parameters": json.dumps(letter["parameters"])} for letter in letters)
    return sum(bool(writer.writerow(row)) for row in rows)
