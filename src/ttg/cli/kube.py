"""``ttg kube``: a broker and runs on a Kubernetes cluster."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttg.cli.arguments import Subparsers
    from ttg.kube.kubectl import Kubectl
    from ttg.kube.layout import Cluster

RUN_DESCRIPTION = """\
Run TARGET on the cluster and bring its dataset back. Options of the cluster go before TARGET; what follows it is given
to `ttg run` there, axes and options alike:

  ttg kube run --workers 50 --out prices sim.py:price spot='linspace(80,120,1000)' vol=0.1,0.2 --seed 7

A target in a local file, and a file given with --params, are sent along; a target in a module must be in the image.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-commands."""
    parser = subparsers.add_parser("kube", help="a broker and runs on a Kubernetes cluster")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    up = _add_verb(verbs, "up", "namespace, credentials and broker, ready for work")
    _add_cluster(up)
    up.set_defaults(call=call_up)
    _add_run(verbs)
    status = _add_verb(verbs, "status", "jobs, pods and what is wrong with them")
    status.set_defaults(call=call_status)
    logs = _add_verb(verbs, "logs", "what workers and coordinator say")
    logs.add_argument("run", nargs="?", metavar="RUN", help="only of this run")
    logs.add_argument("--follow", "-f", action="store_true", help="go on as they say more")
    logs.set_defaults(call=call_logs)
    down = _add_verb(verbs, "down", "remove what carries TTG's label, and nothing else")
    down.add_argument("--data", action="store_true", help="datasets and the broker's disk too")
    down.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    down.set_defaults(call=call_down)
    render = verbs.add_parser("render", help="write the manifests of k8s/")
    render.add_argument("--out", default="k8s", metavar="DIR", help="(default: k8s)")
    render.set_defaults(call=call_render)


def _add_verb(verbs: Subparsers, name: str, text: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text)
    parser.add_argument("--context", metavar="NAME", help="kubectl's context (default: the current one)")
    parser.add_argument("--namespace", default="ttg", metavar="NAME", help="(default: ttg)")
    return parser


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("redis", "rabbitmq"), default="redis", help="(default: redis)")
    parser.add_argument("--image", default="ttg-worker:latest", metavar="NAME", help="(default: ttg-worker:latest)")
    parser.add_argument("--broker-storage", default="8Gi", metavar="SIZE", help="the broker's disk (default: 8Gi)")
    parser.add_argument("--data-storage", default="20Gi", metavar="SIZE", help="disk for datasets (default: 20Gi)")
    parser.add_argument("--storage-class", metavar="NAME", help="kind of disk (default: the cluster's default)")


def _add_run(verbs: Subparsers) -> None:
    parser = verbs.add_parser(
        "run",
        help="run a function on the cluster and fetch its dataset",
        description=RUN_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--context", metavar="NAME", help="kubectl's context (default: the current one)")
    parser.add_argument("--namespace", default="ttg", metavar="NAME", help="(default: ttg)")
    _add_cluster(parser)
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="pods (default: 3; 0: an autoscaler's)")
    parser.add_argument("--slots", type=int, default=1, metavar="N", help="children and CPUs per pod (default: 1)")
    parser.add_argument("--memory", default="1G", metavar="SIZE", help="memory of a pod (default: 1G)")
    parser.add_argument("--run-id", metavar="ID", help="name of the run; the same again goes on with it")
    parser.add_argument("--out", metavar="DIR", help="where the dataset goes (default: ttg-runs/<run id>)")
    parser.add_argument("--keep", action="store_true", help="leave the run's jobs in the cluster when it is done")
    parser.add_argument("target", metavar="TARGET", help="file.py:function or package.module:function")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="axes and options of `ttg run`")
    parser.set_defaults(call=call_run)


def _kubectl(args: argparse.Namespace) -> Kubectl:
    from ttg.kube.kubectl import Kubectl

    return Kubectl(namespace=args.namespace, context=args.context)


def _cluster(args: argparse.Namespace) -> Cluster:
    from ttg.kube.layout import Cluster

    return Cluster(
        backend=args.backend,
        image=args.image,
        namespace=args.namespace,
        broker_storage=args.broker_storage,
        data_storage=args.data_storage,
        storage_class=args.storage_class,
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def call_up(args: argparse.Namespace) -> int:
    """``ttg kube up``"""
    from ttg.kube import cluster

    cluster.up(_kubectl(args), _cluster(args), _say)
    return 0


def call_run(args: argparse.Namespace) -> int:
    """``ttg kube run``"""
    from ttg import units
    from ttg.kube import cluster
    from ttg.kube.layout import Sweep
    from ttg.run.request import made_up_id

    run_id = args.run_id or made_up_id("run")
    sweep = Sweep(
        run=run_id,
        arguments=(args.target, *args.arguments),
        workers=args.workers,
        slots=args.slots,
        memory_mib=(units.size_bytes(args.memory, "--memory") or 0) >> 20,
    )
    out = Path(args.out or Path("ttg-runs") / run_id)
    try:
        return cluster.run(_kubectl(args), _cluster(args), sweep, out, _say, keep=args.keep)
    except KeyboardInterrupt:
        _say(f"run {run_id} goes on in the cluster; `ttg kube status` looks at it, the same command with")
        _say(f"--run-id {run_id} follows it and fetches its dataset, `ttg kube down` ends it")
        return 4


def call_status(args: argparse.Namespace) -> int:
    """``ttg kube status``"""
    from ttg.kube import cluster

    print("\n".join(cluster.status(_kubectl(args))))
    return 0


def call_logs(args: argparse.Namespace) -> int:
    """``ttg kube logs``"""
    from ttg.kube import cluster

    selector = cluster.run_selector(args.run) if args.run else cluster.EVERYTHING
    return cluster.logs(_kubectl(args), selector, ["--follow"] if args.follow else [])


def call_down(args: argparse.Namespace) -> int:
    """``ttg kube down``"""
    from ttg.kube import cluster

    if args.dry_run:
        for name in cluster.removable(_kubectl(args), data=args.data):
            print(name)
        return 0
    cluster.down(_kubectl(args), _say, data=args.data)
    return 0


def call_render(args: argparse.Namespace) -> int:
    """``ttg kube render``"""
    from ttg.kube.render import tree

    for name, text in tree().items():
        path = Path(args.out) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0
