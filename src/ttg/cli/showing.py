"""``ttg demo``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.errors import SettingsError

if TYPE_CHECKING:
    from ttg.cli.arguments import Subparsers
    from ttg.demo.perform import DemoConfig
    from ttg.demo.tables import DemoResult
    from ttg.settings import Settings

DESCRIPTION = """\
Run the demonstration: 1,000 parameters of 100 ms (small), 10,000 of 10 ms (medium) or 1,000,000 trivial ones (large) on
three local workers, optionally break something on purpose at about 30 %, and check every parameter afterwards.

  ttg demo --scale small --fault-demo
  ttg demo --compare              both backends, with and without a killed worker
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = subparsers.add_parser(
        "demo",
        help="show a run, break it on purpose, check every parameter",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--backend", choices=("redis", "rabbitmq"), default="redis", help="(default: redis)")
    parser.add_argument("--scale", choices=("small", "medium", "large"), default="small", help="(default: small)")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument("--fault-demo", action="store_true", help="break something at --fault-at")
    parser.add_argument(
        "--fault",
        choices=("worker", "freeze", "child", "broker", "network"),
        help="what to break (default: worker); implies --fault-demo",
    )
    parser.add_argument("--fault-at", type=float, default=30.0, metavar="PERCENT", help="when (default: 30)")
    parser.add_argument("--monitor", choices=("cli", "web", "both", "none"), default="cli", help="(default: cli)")
    parser.add_argument(
        "--target", choices=("local", "kind"), default="local", help="where workers run (default: local)"
    )
    parser.add_argument(
        "--compare", action="store_true", help="all four runs: both backends, with and without the fault"
    )
    parser.add_argument("--report", metavar="DIR", help="where reports go (default: ttg-runs/demo-<time>)")
    parser.add_argument("--skip-cleanup", action="store_true", help="keep the runs' folders and the broker's data")
    parser.set_defaults(call=demo)


def demo(args: argparse.Namespace) -> int:
    """``ttg demo``"""
    return _on_kind(args) if args.target == "kind" else _local(args)


def _on_kind(args: argparse.Namespace) -> int:
    from ttg.demo.on_kind import show
    from ttg.demo.workload import SCALES
    from ttg.kube.kubectl import Kubectl
    from ttg.kube.layout import Cluster
    from ttg.run.request import made_up_id

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
    import asyncio

    from ttg.demo.perform import check_config, perform, write_report
    from ttg.run.reporter import reporter_for
    from ttg.run.request import made_up_id

    out = Path(args.report) if args.report else Path("ttg-runs") / made_up_id("demo")
    settings = _settings()
    configs = [_config(args, out, settings, backend, fault) for backend, fault in _runs(args)]
    for config in configs:
        check_config(config)
    results: list[DemoResult] = []
    for config in configs:
        quiet = args.monitor in ("web", "none")
        results.append(asyncio.run(perform(config, _say, reporter_for(sys.stderr, quiet=quiet))))
    return _conclude(args, results, out, write_report(results, out))


def _runs(args: argparse.Namespace) -> list[tuple[str, str | None]]:
    fault = args.fault or ("worker" if args.fault_demo else None)
    if not args.compare:
        return [(args.backend, fault)]
    return [(backend, breaking) for backend in ("redis", "rabbitmq") for breaking in (None, fault or "worker")]


def _config(args: argparse.Namespace, out: Path, settings: Settings, backend: str, fault: str | None) -> DemoConfig:
    from ttg.demo.perform import DemoConfig
    from ttg.demo.workload import SCALES

    if not 0 < args.fault_at < 100:
        raise SettingsError(f"--fault-at: expected a percentage between 0 and 100, got {args.fault_at:g}")
    return DemoConfig(
        backend=backend,
        scale=SCALES[args.scale],
        workers=args.workers,
        fault=fault,
        fault_share=args.fault_at / 100,
        out=out,
        settings=settings,
        dashboard=args.monitor in ("web", "both"),
    )


def _settings() -> Any:
    from ttg.logs import configure_logging
    from ttg.settings import read_settings

    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format)
    return settings


def _conclude(args: argparse.Namespace, results: list[DemoResult], out: Path, files: list[Path]) -> int:
    from ttg.demo.tables import COMPARISON_HEADER, as_text, comparison_rows

    if len(results) > 1:
        _say("\n" + as_text(COMPARISON_HEADER, comparison_rows(results)) + "\n")
    _say("Report: " + ", ".join(str(file) for file in files))
    if not args.skip_cleanup:
        _say(f"The runs' tables stay in {out}; `ttg cleanup --runs` removes them.")
    incomplete = [result for result in results if not result.status.startswith("finished")]
    if incomplete:
        return 4
    return 0 if all(result.check.passed for result in results) else 1


def _say(text: str) -> None:
    print(text, flush=True)
