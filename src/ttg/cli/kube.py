"""``ttg kube``: a broker and runs on a Kubernetes cluster."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers, say
from ttg.errors import InputError
from ttg.options import EntryPoint, Options

if TYPE_CHECKING:
    from ttg.kube.kubectl import Kubectl
    from ttg.kube.layout import Cluster, Sweep

RUN_DESCRIPTION = """\
Run FUNCTION, or the program behind --, on the cluster and bring its dataset back: `ttg run --on kubernetes`.

  ttg kube run --workers 50 --out prices sim.py:price spot='linspace(80,120,1000)' vol=0.1,0.2 --seed 7
  ttg kube run --workers 50 alpha='linspace(0,1,100)' -- ./model --alpha {alpha}

A function in a local file is sent along with the modules and packages that it imports from beside it, and so is a file
of --params, a program in this folder, or a script that an interpreter is given. --send adds files and folders that it
reads, or the package of a function like models.sim:price; anything else must be in the image. All that is sent is
signed with the cluster's secret, and checked where it is unpacked.
The same --run-id again follows a run that is under way.
"""


def add(subparsers: Subparsers) -> None:
    """Register the sub-commands."""
    parser = arguments.add_command(subparsers, "kube", None, "a broker and runs on a Kubernetes cluster")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    up = arguments.add_command(verbs, "up", call_up, "namespace, credentials and broker, ready for work")
    text = "run a function on the cluster and fetch its dataset"
    run = arguments.add_command(verbs, "run", call_run, text, RUN_DESCRIPTION)
    status = arguments.add_command(verbs, "status", call_status, "jobs, pods and what is wrong with them")
    logs = arguments.add_command(verbs, "logs", call_logs, "what workers and coordinator say")
    scale = arguments.add_command(verbs, "scale", call_scale, "another number of workers for a run")
    down = arguments.add_command(verbs, "down", call_down, "remove what carries TTG's label, and nothing else")
    render = arguments.add_command(verbs, "render", call_render, "write the manifests of k8s/")
    arguments.add_options(up, EntryPoint.KUBE_UP)
    arguments.add_sweep(run)
    arguments.add_options(run, EntryPoint.KUBE_RUN)
    for verb in (status, logs, scale, down):
        arguments.add_options(verb, EntryPoint.KUBE)
    logs.add_argument("run", nargs="?", metavar="RUN", help="only of this run")
    scale.add_argument("workers", type=int, metavar="N", help="how many pods, at least 1")
    scale.add_argument("run", nargs="?", metavar="RUN", help="of this run (default: the only one that has workers)")
    logs.add_argument("--follow", "-f", action="store_true", help="go on as they say more")
    arguments.add_flag(down, "--data", "datasets, the broker's disk and its credentials too")
    arguments.add_flag(down, "--dry-run", "only list what would be removed")
    render.add_argument("--out", default="k8s", metavar="DIR", help="(default: k8s)")


def _kubectl(chosen: Options) -> Kubectl:
    from ttg.kube.kubectl import Kubectl

    return Kubectl(namespace=chosen.kube_namespace, context=chosen.kube_context)


def _cluster(chosen: Options) -> Cluster:
    from ttg.kube.layout import Cluster

    return Cluster(
        backend=chosen.backend,
        image=chosen.image,
        namespace=chosen.kube_namespace,
        broker_storage=chosen.broker_storage,
        data_storage=chosen.data_storage,
        storage_class=chosen.storage_class,
    )


def call_up(args: argparse.Namespace) -> int:
    """``ttg kube up``"""
    from ttg.kube import cluster

    chosen = arguments.chosen(args, EntryPoint.KUBE_UP)
    cluster.up(_kubectl(chosen), _cluster(chosen), say)
    return 0


def call_run(args: argparse.Namespace) -> int:
    """``ttg kube run``"""
    return run_on_cluster(args, arguments.chosen(args, EntryPoint.KUBE_RUN))


def run_on_cluster(args: argparse.Namespace, chosen: Options) -> int:
    """Start a run on the cluster that kubectl talks to, follow it, and bring its dataset back."""
    from ttg.kube import cluster

    sweep = _sweep(args, chosen)
    run = sweep.run
    out = chosen.out or Path("ttg-runs") / run
    tell = _only_trouble if chosen.quiet or chosen.json else say
    try:
        code = cluster.run(_kubectl(chosen), _cluster(chosen), sweep, out, tell, keep=chosen.keep)
    except KeyboardInterrupt:
        say(f"run {run} goes on in the cluster: the same command with --run-id {run} follows it and fetches its table;")
        say("`ttg kube status` looks at it, `ttg kube down` ends it")
        return 4
    if out.exists():
        _report(out, chosen)
    return code


def _sweep(args: argparse.Namespace, chosen: Options) -> Sweep:
    from ttg.cli.run import program_of
    from ttg.function import files_of_program
    from ttg.kube.code import with_packages
    from ttg.kube.layout import Sweep
    from ttg.run.request import made_up_id

    program = program_of(args, chosen)
    if program is None:
        name, files = args.function.rpartition(":")[2], with_packages(_imported_modules(args.function))
    else:
        name, files = Path(program.name).name, files_of_program(program, Path.cwd())
    run = chosen.run_id or made_up_id(name)
    return Sweep(run, args.function, tuple(args.axes), chosen, files, program=tuple(args.program))


def _imported_modules(function: str) -> dict[str, Path]:
    """The modules of the user's own that a function's local file imports."""
    from ttg.function import function_from_text
    from ttg.function.helpers import find_own
    from ttg.function.source import search_path

    path = Path(function.rpartition(":")[0])
    if path.suffix != ".py" or not path.is_file():
        return {}
    ref = function_from_text(function)
    where = search_path(ref.kind, ref.location, Path.cwd())
    return {name: file for name in ref.helpers if (file := find_own(name, where)) and file.suffix == ".py"}


def _only_trouble(line: str) -> None:
    if line.startswith("trouble: "):
        say(line)


def _report(out: Path, chosen: Options) -> None:
    from ttg.monitor.words import plural
    from ttg.results.folder import RunFolder
    from ttg.run.report import Finished

    finished = Finished.of(RunFolder.open(out))
    if chosen.json:
        arguments.put(finished.as_json())
    elif not chosen.quiet:
        dead = f", {plural(finished.dead, 'dead letter')}" if finished.dead else ""
        say(f"finished: {plural(finished.done, 'result')}{dead}")


def call_status(args: argparse.Namespace) -> int:
    """``ttg kube status``"""
    from ttg.kube import cluster

    print("\n".join(cluster.status(_kubectl(arguments.chosen(args, EntryPoint.KUBE)))))
    return 0


def call_logs(args: argparse.Namespace) -> int:
    """``ttg kube logs``"""
    from ttg.kube import cluster

    selector = cluster.run_selector(args.run) if args.run else cluster.EVERYTHING
    kubectl = _kubectl(arguments.chosen(args, EntryPoint.KUBE))
    return cluster.logs(kubectl, selector, ["--follow"] if args.follow else [])


def call_scale(args: argparse.Namespace) -> int:
    """``ttg kube scale``"""
    from ttg.kube import cluster

    if args.workers < 1:
        raise InputError(f"expected at least 1 worker, got {args.workers}: `ttg kube down` ends what there is")
    run = cluster.scale(_kubectl(arguments.chosen(args, EntryPoint.KUBE)), args.run, args.workers)
    say(f"run {run} gets {args.workers} worker{'' if args.workers == 1 else 's'}")
    return 0


def call_down(args: argparse.Namespace) -> int:
    """``ttg kube down``"""
    from ttg.kube import cluster

    kubectl = _kubectl(arguments.chosen(args, EntryPoint.KUBE))
    if args.dry_run:
        for name in cluster.removable(kubectl, data=args.data):
            print(name)
        return 0
    cluster.down(kubectl, say, data=args.data)
    return 0


def call_render(args: argparse.Namespace) -> int:
    """``ttg kube render``"""
    from ttg.kube.render import tree

    for name, text in tree().items():
        path = Path(args.out) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0
