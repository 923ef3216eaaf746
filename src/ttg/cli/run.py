"""``ttg run``, and what it shares with ``ttg plan``, ``ttg resume`` and ``ttg retry``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.options import EntryPoint, Options, choose

if TYPE_CHECKING:
    from ttg.run.report import Finished
    from ttg.run.request import RunRequest

DESCRIPTION = """\
Run FUNCTION over every combination of the given axes. An axis is NAME=EXPRESSION:

  spot='linspace(80,120,1000)'   vol=0.1,0.2,0.3   n='range(0,50)'   tol='logspace(-6,-2,5)'
  model=heston,sabr              fast=true,false   rate=0.01

With --sample, axes may be distributions: uniform(a,b), normal(m,s), loguniform(a,b), choice(x,y,…).
A function that has a parameter named seed or rng gets the one derived from --seed and the parameter's index.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(subparsers, "run", run, "run a function over a parameter space", DESCRIPTION)
    arguments.add_sweep(parser)
    arguments.add_options(parser, EntryPoint.RUN, EntryPoint.ON_CLUSTER)


def run(args: argparse.Namespace) -> int:
    """``ttg run``"""
    given = arguments.given(args)
    if given.get("on") in (None, "here"):
        chosen = choose(EntryPoint.RUN, {name: value for name, value in given.items() if name != "on"})
        return carry_out(new_run(args, chosen), chosen)
    from ttg.cli.kube import run_on_cluster

    return run_on_cluster(args, choose(EntryPoint.ON_CLUSTER, given))


def new_run(args: argparse.Namespace, chosen: Options) -> RunRequest:
    """The function, its space and the options of a command line, checked."""
    from ttg.function import function_from_text
    from ttg.run.request import new_request
    from ttg.space.expressions import parse_space

    settings = arguments.read_settings()
    space = parse_space(
        args.axes,
        zip=chosen.zip,
        params_file=chosen.params,
        sample=chosen.sample,
        method=chosen.method,
        seed=chosen.seed,
    )
    return new_request(function_from_text(args.function, space.names), space, settings, chosen)


def carry_out(request: RunRequest, chosen: Options) -> int:
    """Run to the end and say how it ended; the exit code."""
    from ttg.run.launch import start
    from ttg.run.reporter import reporter_for

    reporter = reporter_for(sys.stderr, quiet=chosen.quiet or chosen.json)
    finished = start(
        request,
        reporter,
        dashboard=chosen.dashboard,
        metrics_port=chosen.metrics_port,
        metrics_host=chosen.metrics_host,
    )
    return conclude(finished, chosen)


def conclude(finished: Finished, chosen: Options) -> int:
    """Say how a run ended; the exit code."""
    if chosen.json:
        arguments.put(finished.as_json())
    elif not chosen.quiet:
        arguments.say(finished.as_text())
    elif warning := finished.as_warning():
        arguments.say(f"ttg: {warning}")
    return finished.exit_code
