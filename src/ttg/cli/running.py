"""``ttg run`` and ``ttg resume``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg import units
from ttg.cli import arguments

if TYPE_CHECKING:
    from ttg.cli.arguments import Subparsers
    from ttg.run.report import Finished
    from ttg.run.request import RunRequest

RUN_DESCRIPTION = """\
Run TARGET over every combination of the given axes. An axis is NAME=EXPRESSION:

  spot='linspace(80,120,1000)'   vol=0.1,0.2,0.3   n='range(0,50)'   tol='logspace(-6,-2,5)'
  model=heston,sabr              fast=true,false   rate=0.01

With --sample, axes may be distributions: uniform(a,b), normal(m,s), loguniform(a,b), choice(x,y,…).
A function that has a parameter named seed or rng gets the one derived from --seed and the parameter's index.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-commands."""
    _add_run(subparsers)
    _add_resume(subparsers)
    _add_plan(subparsers)


def _add_run(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "run",
        help="run a function over a parameter space",
        description=RUN_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_sweep(parser)
    _add_output(parser)
    _add_place(parser)
    parser.set_defaults(call=run)


def _add_place(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("place")
    group.add_argument("--on", choices=("here", "kubernetes"), default="here", help="where it runs (default: here)")
    group.add_argument("--backend", choices=("redis", "rabbitmq"), default="redis", help="the cluster's broker")
    group.add_argument("--image", default="ttg-worker:latest", metavar="NAME", help="the cluster's worker image")


def _add_plan(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "plan",
        help="run a small sample and say what the whole would take",
        description="Run about 100 evenly spread parameters with an embedded broker, and predict duration, chunks, "
        "broker load, memory and table size of the whole. Takes the arguments of `ttg run`; leaves nothing behind.",
    )
    _add_sweep(parser)
    parser.add_argument("--json", action="store_true", help="the forecast as JSON")
    parser.set_defaults(call=plan)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="file.py:function or package.module:function")
    parser.add_argument("axes", nargs="*", metavar="NAME=EXPRESSION", help="axes of the space; see `ttg run --help`")
    space = parser.add_argument_group("space")
    space.add_argument("--zip", action="store_true", help="pair the axes instead of combining them")
    space.add_argument("--params", metavar="FILE", help="rows of a CSV, JSONL or Parquet file as parameters")
    space.add_argument("--sample", type=int, metavar="N", help="draw N points from the axes' distributions")
    space.add_argument("--method", choices=("random", "lhs", "sobol"), default="random", help="how (default: random)")
    space.add_argument("--seed", type=int, default=0, help="of sampling and of seed/rng (default: 0)")
    execution = parser.add_argument_group("execution")
    execution.add_argument(
        "--vectorized",
        action="store_true",
        help="the function takes columns (NumPy arrays) and returns columns; the default if it is @ttg.vectorized",
    )
    execution.add_argument("--chunk-size", type=int, metavar="N", help="parameters per task (default: automatic)")
    execution.add_argument("--priority", type=int, default=0, metavar="N", help="higher goes first (default: 0)")
    execution.add_argument("--out", metavar="DIR", help="the run's folder (default: ttg-runs/<run id>)")
    execution.add_argument("--run-id", metavar="ID", help="name of the run (default: made up)")
    _add_workers(execution)
    arguments.add_policies(parser)
    arguments.add_broker(parser)


def _add_resume(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "resume",
        help="go on with an interrupted run",
        description="Go on with what is missing of a run. Refuses when the function or the space has changed.",
    )
    parser.add_argument("run", nargs="?", default="last", metavar="RUN", help="id, folder or 'last' (default: last)")
    parser.add_argument("--force", action="store_true", help="go on even though the function changed")
    add_execution(parser)
    parser.set_defaults(call=resume)


def add_execution(parser: argparse.ArgumentParser) -> None:
    """How to go on with a run that there is already."""
    execution = parser.add_argument_group("execution")
    execution.add_argument("--chunk-size", type=int, metavar="N", help="parameters per task (default: automatic)")
    execution.add_argument("--max-failures", metavar="N|%", help="stop when more parameters failed for good")
    _add_workers(execution)
    arguments.add_broker(parser)
    _add_output(parser)


def _add_workers(group: Any) -> None:
    group.add_argument(
        "--workers", type=int, metavar="N", help="local worker processes (default: one per core; 0: none, they join)"
    )
    group.add_argument("--slots", type=int, default=1, metavar="N", help="child processes per worker (default: 1)")
    group.add_argument("--no-replace", action="store_true", help="do not replace a local worker that died")
    group.add_argument("--keep-results", metavar="SIZE", help="collected results kept in the broker (default: 64M)")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--quiet", "-q", action="store_true", help="no progress")
    group.add_argument("--json", action="store_true", help="print the run's report as JSON")
    group.add_argument("--dashboard", action="store_true", help="serve the live dashboard while the run goes on")
    group.add_argument("--metrics-port", type=arguments.port, metavar="PORT", help="serve Prometheus metrics")
    group.add_argument("--metrics-host", default="127.0.0.1", metavar="ADDRESS", help="where (default: 127.0.0.1)")


def run(args: argparse.Namespace) -> int:
    """``ttg run``"""
    if args.on == "kubernetes":
        from ttg.cli.on_cluster import run_on_kubernetes

        return run_on_kubernetes(args)
    from ttg.run.launch import start

    return _conclude(start(_request(args), _reporter(args), **_extras(args)), args)


def resume(args: argparse.Namespace) -> int:
    """``ttg resume``"""
    return go_on(args, force=args.force)


def go_on(args: argparse.Namespace, *, force: bool, retry_dead: Iterable[int] = ()) -> int:
    """Go on with ``args.run``; the dead letters of ``retry_dead`` are tried again."""
    from ttg.run.launch import start
    from ttg.run.request import resume_request

    settings = _settings(args)
    request = resume_request(
        args.run,
        settings,
        force=force,
        retry_dead=retry_dead,
        broker=args.broker,
        workers=args.workers,
        slots=args.slots,
        replace=not args.no_replace,
        chunk_size=args.chunk_size,
        max_failures=args.max_failures,
        keep_results=units.size_bytes(args.keep_results, "--keep-results"),
    )
    return _conclude(start(request, _reporter(args), **_extras(args)), args)


def plan(args: argparse.Namespace) -> int:
    """``ttg plan``"""
    import asyncio
    import json

    from ttg.run.forecast import forecast

    found = asyncio.run(forecast(_request(args), lambda text: print(text, file=sys.stderr)))
    print(json.dumps(found.as_dict()) if args.json else found)
    return 0


def _request(args: argparse.Namespace) -> RunRequest:
    from ttg.function import function_from_text
    from ttg.run.request import new_request
    from ttg.space.expressions import parse_space

    settings = _settings(args)
    space = parse_space(
        args.axes,
        zip=args.zip,
        params_file=args.params,
        sample=args.sample,
        method=args.method,
        seed=args.seed,
    )
    target = function_from_text(args.target, space.names)
    return new_request(
        target,
        space,
        settings,
        run_id=args.run_id,
        out=Path(args.out) if args.out else None,
        broker=args.broker,
        workers=args.workers,
        slots=args.slots,
        replace=not args.no_replace,
        chunk_size=args.chunk_size,
        seed=args.seed,
        retries=args.retries,
        retry_delay_seconds=units.seconds(args.retry_delay, "--retry-delay"),
        timeout_seconds=units.seconds(args.timeout, "--timeout"),
        memory_bytes=units.size_bytes(args.memory, "--memory"),
        checkpoint_seconds=units.seconds(args.checkpoint, "--checkpoint"),
        max_failures=args.max_failures,
        vectorized=args.vectorized,
        priority=args.priority,
        keep_results=units.size_bytes(args.keep_results, "--keep-results"),
    )


def _settings(args: argparse.Namespace) -> Any:
    return arguments.read_settings(args)


def _reporter(args: argparse.Namespace) -> Any:
    from ttg.run.reporter import reporter_for

    return reporter_for(sys.stderr, quiet=args.quiet or args.json)


def _extras(args: argparse.Namespace) -> dict[str, Any]:
    return {"dashboard": args.dashboard, "metrics_port": args.metrics_port, "metrics_host": args.metrics_host}


def _conclude(finished: Finished, args: argparse.Namespace) -> int:
    if args.json:
        print(finished.as_json())
    elif not args.quiet:
        print(finished.as_text(), file=sys.stderr)
    elif warning := finished.as_warning():
        print(f"ttg: {warning}", file=sys.stderr)
    return finished.exit_code
