"""``ttg demo``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import SettingsError

if TYPE_CHECKING:
    from ttg.demo.own_function import OwnFunction
    from ttg.demo.perform import DemoConfig
    from ttg.demo.tables import DemoResult

DESCRIPTION = """\
Run the demonstration: 1,000 parameters of 100 ms (small), 10,000 of 10 ms (medium) or 1,000,000 trivial ones (large) on
three local workers, optionally break something on purpose at about 30 %, and check every parameter afterwards.

  ttg demo --scale small --fault-demo
  ttg demo --backend rabbitmq --fault broker --monitor both
  ttg demo --compare
  ttg demo --fault child --target-function sim.py:price spot='range(80,120)'

The broker is the one that REDIS_HOST or RABBITMQ_HOST names (see `ttg run --help`), else a private one.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    text = "show a run, break it on purpose, check every parameter"
    parser = arguments.add_command(subparsers, "demo", demo, text, DESCRIPTION)
    parser.add_argument("--backend", choices=("redis", "rabbitmq"), default="redis", help="(default: redis)")
    parser.add_argument("--scale", choices=("small", "medium", "large"), default="small", help="(default: small)")
    parser.add_argument("--workers", type=arguments.whole(1), default=3, metavar="N", help="(default: 3)")
    _add_faults(parser)
    parser.add_argument("--monitor", choices=("cli", "web", "both", "none"), default="cli", help="(default: cli)")
    parser.add_argument(
        "--target", choices=("local", "kind"), default="local", help="where workers run (default: local)"
    )
    parser.add_argument(
        "--target-function",
        nargs="+",
        metavar=("FILE.py:FUNCTION", "NAME=EXPRESSION"),
        help="show this function over this space instead of --scale",
    )
    arguments.add_flag(parser, "--compare", "all four runs: both backends, with and without the fault")
    parser.add_argument("--report", metavar="DIR", help="where reports go (default: ttg-runs/demo-<time>)")
    text = "keep the runs' tables and the broker's data; a private RabbitMQ stays up until Enter is pressed"
    arguments.add_flag(parser, "--skip-cleanup", text)


def _add_faults(parser: argparse.ArgumentParser) -> None:
    arguments.add_flag(parser, "--fault-demo", "break something at --fault-at")
    parser.add_argument(
        "--fault",
        choices=("worker", "freeze", "child", "broker", "network"),
        help="what to break (default: worker); implies --fault-demo",
    )
    parser.add_argument("--fault-at", type=float, default=30.0, metavar="PERCENT", help="when (default: 30)")


def demo(args: argparse.Namespace) -> int:
    """``ttg demo``"""
    return _on_kind(args) if args.target == "kind" else _local(args)


def _on_kind(args: argparse.Namespace) -> int:
    from ttg.demo.on_kind import show
    from ttg.demo.workload import SCALES
    from ttg.kube.kubectl import Kubectl
    from ttg.kube.layout import Cluster
    from ttg.run.request import made_up_id

    if args.compare or args.target_function or args.fault not in (None, "worker"):
        raise SettingsError(
            "--target kind shows one run of the stand-in and deletes a pod: it goes with --backend, --scale, "
            "--workers, --fault-demo and --skip-cleanup; leave the other options out"
        )
    out = Path(args.report) if args.report else Path("ttg-runs") / made_up_id("demo-kind")
    where = Cluster(backend=args.backend)
    fault = bool(args.fault_demo or args.fault)
    kubectl = Kubectl(namespace=where.namespace, context="kind-ttg-sandbox")
    check = show(kubectl, where, SCALES[args.scale], args.workers, fault, out, _say)
    _say(f"Data check: {check}.")
    if not args.skip_cleanup:
        from ttg.kube.cluster import down

        down(kubectl, _say)
    return 0 if check.passed else 1


def _local(args: argparse.Namespace) -> int:
    from ttg.demo.perform import check_config

    configs = _configs(args)
    for config in configs:
        check_config(config)
    results: list[DemoResult] = []
    try:
        for number, config in enumerate(configs, 1):
            if len(configs) > 1:
                _say(f"\n━━━ {number} of {len(configs)}: {config.backend}, fault: {config.fault or 'none'} ━━━")
            results.append(_perform(config, quiet=args.monitor in ("web", "none")))
    finally:
        if results:  # also when a later run was interrupted
            _conclude(results, configs[0])
    return 0 if all(result.check.passed for result in results) else 1


def _perform(config: DemoConfig, *, quiet: bool) -> DemoResult:
    import asyncio

    from ttg.demo.perform import perform
    from ttg.run.reporter import reporter_for

    return asyncio.run(perform(config, _say, reporter_for(sys.stderr, quiet=quiet)))


def _configs(args: argparse.Namespace) -> list[DemoConfig]:
    from ttg.demo.perform import DemoConfig
    from ttg.demo.workload import SCALES, Scale
    from ttg.logs import configure_logging
    from ttg.run.request import made_up_id
    from ttg.settings import read_settings

    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    own = _own_function(args)
    scale = Scale(args.target_function[0], len(own.space), None, 0.0) if own else SCALES[args.scale]
    out = Path(args.report) if args.report else Path("ttg-runs") / made_up_id("demo")
    return [
        DemoConfig(
            backend=backend,
            scale=scale,
            workers=args.workers,
            fault=fault,
            fault_share=args.fault_at / 100,
            out=out,
            settings=settings,
            dashboard=args.monitor in ("web", "both"),
            keep=args.skip_cleanup,
            own=own,
        )
        for backend, fault in _runs(args)
    ]


def _runs(args: argparse.Namespace) -> list[tuple[str, str | None]]:
    fault = args.fault or ("worker" if args.fault_demo else None)
    if not args.compare:
        return [(args.backend, fault)]
    return [(backend, breaking) for backend in ("redis", "rabbitmq") for breaking in (None, fault or "worker")]


def _own_function(args: argparse.Namespace) -> OwnFunction | None:
    if not args.target_function:
        return None
    from ttg.demo.own_function import OwnFunction
    from ttg.function import function_from_text
    from ttg.space.expressions import parse_space

    function, *axes = args.target_function
    space = parse_space(axes)
    return OwnFunction(function_from_text(function, space.names), space)


def _conclude(results: list[DemoResult], config: DemoConfig) -> None:
    from ttg.demo.report import write_report
    from ttg.demo.tables import COMPARISON_HEADER, as_text, comparison_rows

    if len(results) > 1:
        _say("\n" + as_text(COMPARISON_HEADER, comparison_rows(results)))
    files = write_report(results, config.out, shlex.join(["ttg", *sys.argv[1:]]))
    _say("\nReport: " + ", ".join(str(file) for file in files))
    if config.keep:
        _say(f"Kept for you to look at: {', '.join(result.folder or '' for result in results)} (`ttg cleanup --runs`)")


def _say(text: str) -> None:
    print(text, flush=True)
