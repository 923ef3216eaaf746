"""The command line. Each sub-command is a module with ``add(subparsers)`` and the function it calls.

Modules here import at their top only what parsing needs; ``ttg --help`` must not wait for a broker client.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from ttg import __version__
from ttg.cli import arguments
from ttg.errors import InputError, TTGError
from ttg.streams import guard_standard_streams

EPILOG = """\
exit codes:
  0   every parameter has a result
  2   bad input: nothing was started
  3   infrastructure: broker not reachable, disk full, output not writable, …
  4   stopped before every parameter was settled (Ctrl-C, cancelled, too many
      failures): `ttg resume` goes on
  5   finished, but some parameters are dead letters: `ttg failed --group`
  75  a worker was told to leave and gave its work back (`ttg worker` only)

first steps:
  ttg run sim.py:price spot='linspace(80,120,1000)' vol=0.1,0.2,0.3 --workers 4
  ttg results last --format table
"""


COMMANDS = (
    *("run", "resume", "plan", "worker", "monitor", "dashboard", "runs", "status", "results", "failed", "logs", "call"),
    *("retry", "pause", "unpause", "drain", "cancel", "demo", "cleanup", "doctor", "kube", "completion", "help"),
)
"""The sub-commands, each in the module of its name, in the order in which ``ttg --help`` lists them."""


def build_parser(*names: str) -> argparse.ArgumentParser:
    """The command line: all of it, or that of the commands ``names``."""
    parser = arguments.Parser(
        prog="ttg",
        description="Run one Python function over a very large set of parameters, each exactly once.",
        epilog=EPILOG,
        formatter_class=arguments.HelpFormatter,
    )
    parser.add_argument("--version", "-V", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name in names or COMMANDS:
        import_module(f"ttg.cli.{name}").add(subparsers)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Parse, run, and turn every error of ours into one line and an exit code."""
    words = sys.argv[1:] if words is None else words
    # Only its own parser: those of all commands cost each worker 20 ms.
    parser = build_parser(*[word for word in words[:1] if word in COMMANDS])
    args = parser.parse_args(words)
    if args.version:
        print(f"ttg {__version__}")
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    try:
        if args.command not in ("help", "version"):
            _expect_folder()
        code: int = args.call(args)
    except TTGError as error:
        print("\n     ".join([f"ttg: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader has what it wanted
        return 0
    except KeyboardInterrupt:
        print("ttg: interrupted", file=sys.stderr)
        return 4
    return code


def _expect_folder() -> None:
    """A terminal may stand in a folder that somebody removed."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError("the current folder does not exist any more: change to one that does") from error


def command() -> NoReturn:
    """The ``ttg`` command. Ends at once when all is said: taking an interpreter down in good order, module by module,
    would take longer than some commands do."""
    guard_standard_streams()
    try:
        code = main()
    except SystemExit as end:  # of argparse
        code = end.code if isinstance(end.code, int) else 0
    logging.shutdown()
    undelivered = _delivered(told=bool(code))  # also what was printed before an error
    os._exit(code or undelivered)


def _delivered(*, told: bool) -> int:
    """0 when standard output has taken everything, else the exit code of its error, said unless one is ``told``."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return 0
    except TTGError as error:
        if not told:
            print(f"ttg: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0
