"""``ttg drain``."""

from __future__ import annotations

import argparse

from ttg.cli import arguments, led_run
from ttg.cli.arguments import Subparsers
from ttg.options import EntryPoint

DESCRIPTION = """\
Let one worker of a run leave, as SIGTERM does: it settles what it has done, gives the rest back and ends; no attempt is
charged. A local worker is not replaced; a Kubernetes Job starts another pod, so scale it down there instead. The
worker hears of it through the run: one that never had a task of it does not.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "drain", drain, "let one worker of a run leave", DESCRIPTION)
    arguments.add_run(parser, required=True)
    parser.add_argument("worker", metavar="WORKER", help="its name, as `ttg monitor` shows it")
    arguments.add_options(parser, EntryPoint.LOOK)


def drain(args: argparse.Namespace) -> int:
    """``ttg drain``"""
    from ttg.run.steering import drain as drain_worker

    led_run.change(args, lambda broker, run: drain_worker(broker, run, args.worker))
    arguments.say(f"worker {args.worker} is told to leave")
    return 0
