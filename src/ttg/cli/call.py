"""``ttg call``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers

if TYPE_CHECKING:
    from ttg.run.one_call import OneCall

DESCRIPTION = """\
Call the run's function for one parameter, in this process and in the folder where the run was started: with the same
parameters and the same seed, without a broker, a worker, a time limit or a retry, and without touching the run. Prints
them and the value, or the traceback (exit code 1). A breakpoint() in the function stops here.
"""
CALL_RAISED = 1


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    text = "call the function for one parameter of a run, here, to see or debug it"
    parser = arguments.add_command(subparsers, "call", call, text, DESCRIPTION)
    arguments.add_run(parser)
    parser.add_argument("index", metavar="INDEX", help="index of the parameter, as `ttg failed` lists it")
    arguments.add_flag(parser, "--pdb", "open the debugger where the call raised")


def call(args: argparse.Namespace) -> int:
    """``ttg call``"""
    from ttg.run.one_call import prepare

    run, index = arguments.run_and_index([args.run, args.index])
    folder, settings = arguments.find(run), arguments.read_settings()
    with suppress(OSError):  # a folder that is gone, or of another machine: the function says what it misses
        os.chdir(folder.info.started_in or ".")
    prepared = prepare(folder, arguments.index_of(index, folder), settings)
    _introduce(folder.spec.run, folder.spec.size, prepared)
    try:
        value = prepared.call()
    except (Exception, SystemExit) as error:
        return _raised(error, debug=args.pdb)
    print(f"returned {type(value).__name__}: {value!r}", flush=True)
    return 0


def _introduce(run: str, size: int, prepared: OneCall) -> None:
    if prepared.warning:
        arguments.say(f"ttg: it is called as it is now: {prepared.warning}")
    print(f"run {run}, parameter {prepared.index} of {size:,}")
    for name, value in prepared.parameters.items():
        print(f"  {name} = {value!r}")
    if prepared.workdir:
        print(f"  workdir = {prepared.workdir}")
    gets = f"the function gets {' and '.join(prepared.injected)}" if prepared.injected else "the function takes none"
    print(f"  seed = {prepared.seed}  ({gets})", flush=True)


def _raised(error: Exception | SystemExit, *, debug: bool) -> int:
    from ttg.worker.failures import outside_of_ttg

    trace = outside_of_ttg(error.__traceback__)
    sys.stdout.flush()  # what was printed first stands first, also in a file
    traceback.print_exception(type(error), error, trace)
    if debug:
        import pdb  # noqa: T100 - that is what --pdb asks for

        pdb.post_mortem(trace or error.__traceback__)
    return CALL_RAISED
