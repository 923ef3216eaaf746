"""``ttg cleanup``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers
from ttg.errors import BrokerError, InputError, RunConflictError, SettingsError, TTGError
from ttg.options import EntryPoint, Options

if TYPE_CHECKING:
    from ttg.kube.kubectl import Kubectl
    from ttg.results.folder import RunFolder
    from ttg.run.cleanup import Removal
    from ttg.settings import Settings

DESCRIPTION = """\
List what TTG left behind, ask, and remove exactly that.

With RUN it is that run: its folder with the table, and what the broker (--broker, or the environment's) still has of
it. Else it is what the options say: queues and keys of TTG's namespace; pods and other resources with the label
ttg.io/project=distributed-compute, where kubectl points and in the namespace ttg. Claims there (tables, the broker's
disk) and credentials stay: `ttg kube down --data` removes them. Tables of runs on this machine go by name only, or by
--runs, which lists them first. Foreign keys, queues, pods and folders are never touched. Which broker: --broker,
or the environment (TTG_BROKER, REDIS_*, RABBITMQ_*).
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-command."""
    parser = arguments.add_command(
        subparsers, "cleanup", cleanup, "remove what TTG left behind, and nothing else", DESCRIPTION
    )
    parser.add_argument("run", nargs="*", metavar="RUN", help=f"only these runs: {arguments.RUN_HELP}")
    arguments.add_flag(parser, "--all", "--pods, --redis and --rabbitmq, as far as there are any; no run folder")
    arguments.add_flag(parser, "--pods", "resources of the Kubernetes cluster kubectl talks to")
    arguments.add_flag(parser, "--redis", "TTG's keys in the Redis or Valkey of the environment")
    arguments.add_flag(parser, "--rabbitmq", "TTG's queues in the RabbitMQ of the environment")
    arguments.add_flag(parser, "--runs", "all run folders of this machine, with their tables; not part of --all")
    arguments.add_flag(parser, "--dry-run", "only list")
    arguments.add_flag(parser, "--force", "do not ask; and remove a run folder also while its store is away")
    arguments.add_options(parser, EntryPoint.CLEANUP)


def cleanup(args: argparse.Namespace) -> int:
    """``ttg cleanup``"""
    import asyncio

    from ttg.run.cleanup import carry_out

    chosen = arguments.chosen(args, EntryPoint.CLEANUP)
    kinds = [kind for kind in ("all", "pods", "redis", "rabbitmq", "runs") if getattr(args, kind)]
    if args.run and kinds:
        raise SettingsError(f"--{kinds[0]} does not go with RUN: give one of them")
    if not (args.run or kinds or chosen.broker):
        raise SettingsError(
            "nothing chosen: expected RUN (`ttg runs` lists them), --all, or some of --pods --redis --rabbitmq --runs "
            "--broker URL"
        )
    settings = arguments.read_settings(chosen)
    find = _find_named(args.run, chosen, settings, force=args.force) if args.run else _find(args, chosen, settings)
    removals, refusals = asyncio.run(find)
    for refusal in refusals:
        print(f"left alone: {refusal}", file=sys.stderr)
    _list(removals, "would remove" if args.dry_run else "to remove")
    failed = 0
    if removals and not args.dry_run:
        if not args.force and not arguments.confirmed("Remove all of this?", "--force to remove, or --dry-run to look"):
            print("nothing was removed")
            return 0
        failed = asyncio.run(carry_out(removals, print))
    unseen = [refusal for refusal in refusals if not isinstance(refusal, RunConflictError)]
    return 3 if unseen or failed else 0


def _list(removals: list[Removal], heading: str) -> None:
    for removal in removals:
        print(f"{heading}: {removal.what}")
        for detail in removal.details:
            print(f"    {detail}")
    if not removals:
        print("nothing of TTG's was found: nothing to do")


async def _find_named(
    names: Sequence[str], chosen: Options, settings: Settings, *, force: bool
) -> tuple[list[Removal], list[TTGError]]:
    """These runs, each on disk and in the broker. One that goes on, or that nobody knows, ends the command."""
    from ttg.run.cleanup import find_run_in_broker, run_removal

    removals: dict[str, Removal] = {}
    refusals: dict[str, TTGError] = {}
    url = chosen.broker or settings.broker_url
    for name in names:
        folder, unknown = _folder(name)
        found = [run_removal(folder, settings.home, force=force)] if folder else []
        run, identity = (folder.spec.run, folder.spec.identity) if folder else (name, None)
        try:
            if url and (there := await find_run_in_broker(settings, url, run, identity)):
                found.append(there)
        except BrokerError as error:
            refusals[str(error)] = error
        if unknown and not found:
            raise unknown
        removals.update({removal.what: removal for removal in found})
    return list(removals.values()), list(refusals.values())


def _folder(name: str) -> tuple[RunFolder | None, InputError | None]:
    """The folder of a run, or why there is none here: the broker may know runs of other machines."""
    try:
        return arguments.find(name), None
    except InputError as error:
        return None, error


async def _find(args: argparse.Namespace, chosen: Options, settings: Settings) -> tuple[list[Removal], list[TTGError]]:
    """What can be removed, and why something else could not be looked at."""
    from ttg.run.cleanup import find_in_broker, find_runs

    removals: list[Removal] = []
    refusals: list[TTGError] = []
    for url in _urls(args, chosen.broker):
        try:
            found = await find_in_broker(settings, url)
            removals += [found] if found else []
        except BrokerError as error:
            refusals.append(error)
    if args.pods or (args.all and _has_cluster(chosen)):
        try:
            removals += [found for kubectl in _namespaces(args, chosen) for found in _pods(kubectl)]
        except TTGError as error:
            refusals.append(error)
    if args.runs:
        folders, held = find_runs(settings.home, force=args.force)
        removals, refusals = removals + folders, refusals + held
    return removals, refusals


def _has_cluster(chosen: Options) -> bool:
    """Whether there is a kubectl here, and it knows a cluster: otherwise there are no pods of ours."""
    import shutil

    from ttg.kube.kubectl import ClusterError, Kubectl

    if not shutil.which("kubectl"):
        return False
    try:
        Kubectl("default").call("asking for the context", "config", "current-context")
    except ClusterError as error:
        return bool(chosen.kube_context) or "current-context is not set" not in str(error)
    return True


def _urls(args: argparse.Namespace, broker: str | None) -> list[str]:
    import os

    from ttg.settings import named_brokers

    urls = [broker] if broker else []
    wanted = {kind for kind in ("redis", "rabbitmq") if args.all or getattr(args, kind)}
    named = named_brokers(os.environ)
    for kind in sorted(wanted):
        if kind in named:
            urls.append(named[kind])
        elif not args.all:
            variables = "REDIS_HOST" if kind == "redis" else "RABBITMQ_HOST, RABBITMQ_USER and RABBITMQ_PASSWORD"
            raise SettingsError(f"--{kind}: which one? set {variables}, or give --broker URL")
    return list(dict.fromkeys(urls))


def _namespaces(args: argparse.Namespace, chosen: Options) -> list[Kubectl]:
    """The one that was named; else the one of `ttg kube up`, and where kubectl points, where the sandbox is."""
    from ttg.kube.kubectl import Kubectl

    ours = Kubectl(namespace=chosen.kube_namespace, context=chosen.kube_context)
    if "kube_namespace" in arguments.given(args):
        return [ours]
    asked = ours.call("asking for the namespace", "config", "view", "--minify", "--output=jsonpath={..namespace}")
    return list(dict.fromkeys((ours, replace(ours, namespace=asked.strip() or "default"))))


def _pods(kubectl: Kubectl) -> list[Removal]:
    from ttg.kube import cluster
    from ttg.run.cleanup import Removal

    names = cluster.removable(kubectl, data=False)
    context = kubectl.context or kubectl.call("asking for the context", "config", "current-context").strip()

    async def remove() -> None:
        cluster.down(kubectl, print)

    what = f"Kubernetes context {context}, namespace {kubectl.namespace}, what is labelled {cluster.EVERYTHING}"
    return [Removal(what, tuple(names), remove)] if names else []
