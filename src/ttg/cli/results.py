"""``ttg results``: look at the table of a run, or write it to a file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import SettingsError
from ttg.streams import CLEAR_LINE, show

if TYPE_CHECKING:
    from ttg.results.folder import RunFolder

FORMATS = ("table", "csv", "json", "jsonl", "parquet", "arrow")
ENDINGS = {**{f".{name}": name for name in FORMATS if name != "table"}, ".ndjson": "jsonl", ".txt": "table"}
SHOWN_ROWS = 20
TOLD_EVERY_SECONDS = 0.5
EPILOG = """\
examples:
  ttg results last --index 5,100-199 --columns index,result
  ttg results last --where 'value > 3 and kind == "call"' --sort value,-vol
  ttg results last --out table.csv
  ttg results last --sql 'select vol, avg(value) from results group by vol'

--where takes columns, numbers, "text", true, false, none; == != < <= > >= in; and or not; + - * / %; is none; abs(x),
isnan(x), isinf(x), startswith(x, "a"), endswith(x, "a"); column("any name"). Missing values meet no condition.

docs/results.md: the same from Python, DuckDB, Polars and R, and what it costs at 100 million rows.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "results", results, "print or export the table of a run", epilog=EPILOG)
    arguments.add_run(parser)
    parser.add_argument("--format", choices=FORMATS, help="(default: as --out ends, else table)")
    parser.add_argument(
        "--out", metavar="FILE", help=f"write to a file, named {', '.join(ENDINGS)}; -: standard output"
    )
    parser.add_argument("--columns", metavar="A,B", help="only these columns")
    parser.add_argument("--index", metavar="1,2,5-9", help="only the rows of these indices")
    parser.add_argument("--where", metavar="CONDITION", help="only the rows that meet it, e.g. 'x > 3 and y is none'")
    parser.add_argument("--sort", metavar="A,-B", help="ordered by columns, falling after a '-' (default: index)")
    parser.add_argument(
        "--limit",
        type=arguments.whole(0),
        metavar="N",
        help=f"only the first N rows (printed as a table: default {SHOWN_ROWS})",
    )
    parser.add_argument("--tail", type=arguments.whole(0), metavar="N", help="only the last N rows")
    parser.add_argument("--sql", metavar="QUERY", help="the answer to a query about 'results' (needs: duckdb)")


def results(args: argparse.Namespace) -> int:
    """``ttg results``"""
    args.out = None if args.out == "-" else args.out
    format = _format(args)
    folder = arguments.find(args.run)
    if not args.sql and format == "table" and not args.out and _has_none(folder):
        return 0
    schema, windows, rows = _answer(args, folder) if args.sql else _selection(args, folder, format)
    if args.out:
        count = _write(Path(args.out), format, schema, windows, rows)
        print(f"{count:,} rows written to {args.out}", file=sys.stderr)
    else:
        from ttg.results.export import write_windows

        count = write_windows(format, sys.stdout.buffer, schema, windows)
        sys.stdout.flush()
    _remark(args, folder, count)
    return 0


def _has_none(folder: RunFolder) -> bool:
    """Whether there are no rows to print, and then says why: an empty table tells nothing."""
    from ttg.results.dataset import part_paths
    from ttg.run.report import counts

    done, dead = counts(folder)
    run, size = folder.spec.run, folder.info.size
    if done or part_paths(folder.results):
        return False
    if dead == size:
        arguments.say(f"run {run} has no results: every parameter failed, `ttg failed {run} --group` shows why")
    else:
        failed = f", {dead:,} parameters failed: `ttg failed {run} --group` shows why" if dead else ""
        arguments.say(f"run {run} has no results so far: it is {folder.status.words}{failed}")
    return True


def _format(args: argparse.Namespace) -> str:
    """What was asked for, else what the file's name says, else a table; only if it can go where it shall."""
    format: str = args.format or (_format_of(Path(args.out)) if args.out else "table")
    if format == "parquet" and not args.out:
        raise SettingsError("--format parquet is binary: give --out FILE")
    if format == "arrow" and not args.out and sys.stdout.isatty():
        raise SettingsError("--format arrow is binary: give --out FILE, or pipe it into a program")
    return format


def _format_of(path: Path) -> str:
    """What the ending of a file's name says; a device or a pipe takes a table."""
    if format := ENDINGS.get(path.suffix.lower()):
        return format
    if path.exists() and not path.is_file() and not path.is_dir():
        return "table"
    raise SettingsError(
        f"--out: expected a name that ends in {', '.join(ENDINGS)}, got {path}: rename it, or give --format"
    )


Rows = tuple[Any, Iterable[Any], int | None]


def _selection(args: argparse.Namespace, folder: RunFolder, format: str) -> Rows:
    from ttg.results.selection import select
    from ttg.run.replay import parse_indices

    columns = [name.strip() for name in args.columns.split(",")] if args.columns is not None else None
    indices = None if args.index is None else parse_indices(args.index)
    limit = args.limit
    if limit is None and args.tail is None and format == "table" and not args.out:
        limit = SHOWN_ROWS
    chosen = select(folder, columns, indices, limit, args.tail, args.where, args.sort)
    return chosen.schema, chosen.windows(), chosen.rows


def _answer(args: argparse.Namespace, folder: RunFolder) -> Rows:
    from ttg.results.sql import sql, stream

    for option in ("columns", "index", "where", "sort", "limit", "tail"):
        if getattr(args, option) is not None:
            raise SettingsError(f"--{option} does not go with --sql: say it in the query")
    return (*stream(sql(folder, args.sql)), None)


def _write(path: Path, format: str, schema: Any, windows: Iterable[Any], rows: int | None) -> int:
    from ttg.results.export import write_windows
    from ttg.results.folder import disk_errors

    with disk_errors(path), _complete(path) as file, _telling(rows) as progress:
        return write_windows(format, file, schema, windows, progress)


@contextmanager
def _complete(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when everything is in it; a pipe or a device is written to as it is."""
    if path.is_dir():
        raise SettingsError(f"--out: expected a file, and {path} is a folder")
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _telling(rows: int | None) -> Iterator[Any]:
    """A line on a terminal that says how far a long export is."""
    if not sys.stderr.isatty():
        yield None
        return
    whole = "" if rows is None else f" of {rows:,}"
    told_at = time.monotonic()

    def tell(count: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TOLD_EVERY_SECONDS:
            told_at = time.monotonic()
            show(sys.stderr, f"{CLEAR_LINE}{count:,}{whole} rows ")

    try:
        yield tell
    finally:
        show(sys.stderr, CLEAR_LINE)


def _remark(args: argparse.Namespace, folder: RunFolder, count: int) -> None:
    """What somebody who looks at the rows should know: there are more of them, or there will be, or never."""
    from ttg.run.report import counts

    (done, dead), run, size = counts(folder), folder.spec.run, folder.info.size
    chosen = args.sql or args.out or args.where or args.index or args.tail is not None
    if count == SHOWN_ROWS < done and args.limit is None and not chosen:
        arguments.say(f"the first {count} of {done:,} rows: --limit, --tail, --where, --out FILE for others")
    elif count == 0 and args.where:
        arguments.say(f"none of {done:,} rows meets the condition")
    if done + dead < size:
        arguments.say(f"run {run} is {folder.status.words}: these are its results so far")
    elif dead and not args.sql:
        arguments.say(f"{dead:,} of {size:,} parameters have no row: `ttg failed {run} --group`")
