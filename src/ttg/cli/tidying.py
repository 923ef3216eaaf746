"""``ttg cleanup`` and ``ttg doctor``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ttg.errors import BrokerError, SettingsError, TTGError

if TYPE_CHECKING:
    from ttg.cli.arguments import Subparsers
    from ttg.run.cleanup import Removal
    from ttg.settings import Settings

CLEANUP = """\
List what TTG left behind, ask, and remove exactly that: queues and keys of TTG's namespace, pods and other resources
with the label ttg.io/project=distributed-compute, run folders registered on this machine. Foreign keys, queues, pods
and folders are never touched. Which broker: --broker, or the environment (TTG_BROKER, REDIS_*, RABBITMQ_*).
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-commands."""
    parser = subparsers.add_parser(
        "cleanup",
        help="remove what TTG left behind, and nothing else",
        description=CLEANUP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--all", action="store_true", help="everything below")
    parser.add_argument("--pods", action="store_true", help="resources of the Kubernetes cluster kubectl talks to")
    parser.add_argument("--redis", action="store_true", help="TTG's keys in the Redis or Valkey of the environment")
    parser.add_argument("--rabbitmq", action="store_true", help="TTG's queues in the RabbitMQ of the environment")
    parser.add_argument("--runs", action="store_true", help="run folders of this machine, with their tables")
    parser.add_argument("--broker", metavar="URL", help="clean this broker")
    parser.add_argument(
        "--namespace", metavar="NAME", help="prefix of queues and keys (default: $TTG_NAMESPACE or ttg)"
    )
    parser.add_argument("--kube-namespace", default="ttg", metavar="NAME", help="of the pods (default: ttg)")
    parser.add_argument("--kube-context", metavar="NAME", help="the cluster (default: kubectl's current context)")
    parser.add_argument("--dry-run", action="store_true", help="only list")
    parser.add_argument("--force", action="store_true", help="do not ask")
    parser.set_defaults(call=cleanup)

    doctor_parser = subparsers.add_parser("doctor", help="check this machine and the broker, and say what to do")
    doctor_parser.add_argument("--broker", metavar="URL", help="check this broker (default: the environment's)")
    doctor_parser.add_argument("--namespace", metavar="NAME", help=argparse.SUPPRESS)
    doctor_parser.add_argument("--json", action="store_true", help="findings as JSON")
    doctor_parser.set_defaults(call=doctor)


def cleanup(args: argparse.Namespace) -> int:
    """``ttg cleanup``"""
    import asyncio

    from ttg.cli import arguments
    from ttg.run.cleanup import carry_out

    if not (args.all or args.pods or args.redis or args.rabbitmq or args.runs or args.broker):
        raise SettingsError("nothing chosen: expected --all, or some of --pods --redis --rabbitmq --runs --broker URL")
    removals, refusals = asyncio.run(_find(args, arguments.read_settings(args)))
    for refusal in refusals:
        print(f"left alone: {refusal}", file=sys.stderr)
    _list(removals, "would remove" if args.dry_run else "to remove")
    failed = 0
    if removals and not args.dry_run:
        if not args.force and not _confirmed():
            print("nothing was removed")
            return 0
        failed = asyncio.run(carry_out(removals, print))
    return 3 if refusals or failed else 0


def _list(removals: list[Removal], heading: str) -> None:
    for removal in removals:
        print(f"{heading}: {removal.what}")
        for detail in removal.details:
            print(f"    {detail}")
    if not removals:
        print("nothing of TTG's was found: nothing to do")


async def _find(args: argparse.Namespace, settings: Settings) -> tuple[list[Removal], list[TTGError]]:
    """What can be removed, and why something else could not be looked at."""
    from ttg.run.cleanup import find_in_broker, find_runs

    removals: list[Removal] = []
    refusals: list[TTGError] = []
    for url in _urls(args):
        try:
            found = await find_in_broker(settings, url)
            removals += [found] if found else []
        except BrokerError as error:
            refusals.append(error)
    if args.pods or _has_kubectl(args):
        try:
            removals += _pods(args)
        except TTGError as error:
            refusals.append(error)
    if args.runs or args.all:
        removals += find_runs(settings.home)
    return removals, refusals


def _has_kubectl(args: argparse.Namespace) -> bool:
    """With ``--all``, a machine without kubectl has no pods of ours."""
    import shutil

    return bool(args.all and shutil.which("kubectl"))


def _urls(args: argparse.Namespace) -> list[str]:
    import os

    from ttg.settings import named_brokers

    urls = [args.broker] if args.broker else []
    wanted = {kind for kind in ("redis", "rabbitmq") if args.all or getattr(args, kind)}
    named = named_brokers(os.environ)
    for kind in sorted(wanted):
        if kind in named:
            urls.append(named[kind])
        elif not args.all:
            variables = "REDIS_HOST" if kind == "redis" else "RABBITMQ_HOST, RABBITMQ_USER and RABBITMQ_PASSWORD"
            raise SettingsError(f"--{kind}: which one? set {variables}, or give --broker URL")
    return list(dict.fromkeys(urls))


def _pods(args: argparse.Namespace) -> list[Removal]:
    from ttg.kube import cluster
    from ttg.kube.kubectl import Kubectl
    from ttg.run.cleanup import Removal

    kubectl = Kubectl(namespace=args.kube_namespace, context=args.kube_context)
    names = cluster.removable(kubectl, data=True)
    context = args.kube_context or kubectl.call("asking for the context", "config", "current-context").strip()

    async def remove() -> None:
        cluster.down(kubectl, print, data=True)

    what = f"Kubernetes context {context}, namespace {kubectl.namespace}, what is labelled {cluster.EVERYTHING}"
    return [Removal(what, tuple(names), remove)] if names else []


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise SettingsError("cannot ask without a terminal: use --force to remove, or --dry-run to look")
    return input("Remove all of this? [y/N] ").strip().lower() in ("y", "yes")


def doctor(args: argparse.Namespace) -> int:
    """``ttg doctor``"""
    import asyncio
    import json

    from ttg.cli import arguments
    from ttg.run.doctor import examine

    settings = arguments.read_settings(args)
    findings = asyncio.run(examine(settings, args.broker or settings.broker_url))
    if args.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        for finding in findings:
            print(finding)
    return 3 if any(finding.level == "problem" for finding in findings) else 0
