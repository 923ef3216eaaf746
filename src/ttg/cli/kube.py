"""``ttg kube``: a broker and runs on a Kubernetes cluster."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ttg.cli import arguments
from ttg.cli.arguments import Subparsers, say
from ttg.cli.dashboard import add_serving
from ttg.errors import InputError, SettingsError, StorageError
from ttg.options import EntryPoint, Options

if TYPE_CHECKING:
    from ttg.kube.kubectl import Kubectl
    from ttg.kube.layout import Cluster, Sweep
    from ttg.monitor.snapshot import Snapshot

LOOK_SECONDS = 5.0
RUN_DESCRIPTION = """\
Run FUNCTION, or the program behind --, on the cluster and bring its dataset back: `ttg run --on kubernetes`.

  ttg kube run --workers 50 --out prices sim.py:price spot='range(80,120)'
  ttg kube run --workers 50 alpha='linspace(0,1,100)' -- ./model --alpha {alpha}

A function in a local file is sent along with the modules and packages that it imports from beside it, and so is a file
of --params, a program in this folder, or a script that an interpreter is given. --send adds files and folders that it
reads, or the package of a function like models.sim:price; anything else must be in the image. All that is sent is
signed with the cluster's secret, and checked where it is unpacked.
The same --run-id again follows a run that is under way.
"""


DASHBOARD_DESCRIPTION = """\
Serve the dashboard on this machine, over a forwarded port of the cluster's broker, and tell there what the cluster
warns of: no pod may ask the cluster, so that is seen where kubectl is.
"""
FETCH_DESCRIPTION = """\
Follow a run that `ttg kube run` has started, however that ended, and bring its dataset here. That of a run that is over
is still on the cluster's claim, until `ttg kube down --data`.
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
    dashboard = arguments.add_command(
        verbs, "dashboard", call_dashboard, "watch the cluster's runs", DASHBOARD_DESCRIPTION
    )
    fetch = arguments.add_command(verbs, "fetch", call_fetch, "wait for a run and fetch its dataset", FETCH_DESCRIPTION)
    scale = arguments.add_command(verbs, "scale", call_scale, "another number of workers for a run")
    down = arguments.add_command(verbs, "down", call_down, "remove what carries TTG's label, and nothing else")
    render = arguments.add_command(verbs, "render", call_render, "write the manifests of k8s/")
    arguments.add_options(up, EntryPoint.KUBE_UP)
    arguments.add_sweep(run)
    arguments.add_options(run, EntryPoint.KUBE_RUN)
    dashboard.add_argument("run", nargs="?", metavar="RUN", help="open it with this run")
    arguments.add_options(dashboard, EntryPoint.KUBE_DASHBOARD)
    add_serving(dashboard)
    fetch.add_argument("run", metavar="RUN", help="the id of the run")
    arguments.add_options(fetch, EntryPoint.KUBE_FETCH)
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

    sweep, kubectl, place = _sweep(args, chosen), _kubectl(chosen), _cluster(chosen)
    return _carry_out(
        sweep.run, chosen, lambda out, tell: cluster.run(kubectl, place, sweep, out, tell, keep=chosen.keep)
    )


def call_dashboard(args: argparse.Namespace) -> int:
    """``ttg kube dashboard``"""
    import asyncio

    from ttg.cli.dashboard import show
    from ttg.kube.cluster import secret_of
    from ttg.kube.forward import forwarded

    chosen = arguments.chosen(args, EntryPoint.KUBE_DASHBOARD)
    kubectl, settings = _kubectl(chosen), arguments.read_settings()
    password = secret_of(kubectl, _cluster(chosen), "password").decode()
    with suppress(KeyboardInterrupt, asyncio.CancelledError), forwarded(kubectl, chosen.backend, password) as url:
        watched = arguments.Watched(settings.broker_config(url), args.run or "")
        asyncio.run(show(settings, watched, args, partial(_tell_troubles, kubectl)))
    return 0


async def _tell_troubles(kubectl: Kubectl, snapshot: Snapshot) -> None:
    """Look at the cluster again and again, and fold what is wrong there."""
    import asyncio
    import signal

    from ttg.clock import unix_time
    from ttg.kube.cluster import Troubles, troubles
    from ttg.kube.kubectl import ClusterError

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: what forwards the port ends, too
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    told = Troubles(lambda line: snapshot.fold_trouble(line.removeprefix("trouble: "), unix_time()))
    while True:
        try:
            told.tell(await asyncio.to_thread(troubles, kubectl))
        except ClusterError as error:
            told.tell([str(error)])
        await asyncio.sleep(LOOK_SECONDS)


def call_fetch(args: argparse.Namespace) -> int:
    """``ttg kube fetch``"""
    from ttg.kube import cluster
    from ttg.kube.layout import check_name

    chosen, run = arguments.chosen(args, EntryPoint.KUBE_FETCH), check_name(args.run, "RUN")
    kubectl, place = _kubectl(chosen), _cluster(chosen)
    return _carry_out(run, chosen, lambda out, tell: cluster.finish(kubectl, place, run, out, tell, keep=chosen.keep))


def _carry_out(run: str, chosen: Options, work: Callable[[Path, Callable[[str], None]], int | None]) -> int:
    """Do ``work``, which brings the dataset of ``run``, and report on that; the exit code."""
    out = chosen.out or Path("ttg-runs") / run
    try:
        code = work(out, _only_trouble if chosen.quiet or chosen.json else say)
    except KeyboardInterrupt:
        say(f"run {run}, once it is started, goes on in the cluster: `ttg kube fetch {run}` follows it and fetches its")
        say("dataset; `ttg kube status` looks at it, `ttg kube down` ends it")
        return 4
    there = _report(out, chosen) if out.exists() else 0
    return there if code is None else code


def _sweep(args: argparse.Namespace, chosen: Options) -> Sweep:
    from ttg.cli.run import program_of, space_of
    from ttg.function import check_placeholders, files_of_program
    from ttg.kube.code import with_packages
    from ttg.kube.layout import Sweep
    from ttg.run.request import made_up_id

    if str(chosen.params) == "-":
        raise SettingsError("--params: standard input does not reach a cluster: write it to a file")
    program = program_of(args, chosen)
    if program is None:
        name, files = args.function.rpartition(":")[2], with_packages(_imported_modules(args, chosen))
    else:
        check_placeholders(program, space_of(args, chosen).names)  # it may be in the image only
        name, files = Path(program.name).name, files_of_program(program, Path.cwd())
    run = chosen.run_id or made_up_id(name)
    return Sweep(run, args.function, tuple(args.axes), chosen, files, program=tuple(args.program))


def _imported_modules(args: argparse.Namespace, chosen: Options) -> dict[str, Path]:
    """The modules of the user's own that a function's local file imports. A function that is here is checked here, with
    its space: what is wrong with them is said before anything is started."""
    from ttg.cli.run import function_of, space_of
    from ttg.function.helpers import find_own
    from ttg.function.source import search_path

    path = Path(args.function.rpartition(":")[0])
    if ":" in args.function and (path.suffix != ".py" or not path.is_file()):
        return {}
    ref = function_of(args, chosen, space_of(args, chosen).names)
    where = search_path(ref.kind, ref.location, Path.cwd())
    return {name: file for name in ref.helpers if (file := find_own(name, where)) and file.suffix == ".py"}


def _only_trouble(line: str) -> None:
    if line.startswith("trouble: "):
        say(line)


def _report(out: Path, chosen: Options) -> int:
    """Say what has been brought; the exit code of a run that stands so."""
    from ttg.monitor.words import plural
    from ttg.results.folder import RunFolder
    from ttg.run.report import Finished

    finished = Finished.of(RunFolder.open(out))
    if chosen.json:
        arguments.put(finished.as_json())
    elif not chosen.quiet:
        dead = f", {plural(finished.dead, 'dead letter')}" if finished.dead else ""
        word = "finished" if finished.status.is_finished else finished.status.words
        say(f"{word}: {plural(finished.done, 'result')}{dead}")
    return finished.exit_code


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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"--out: cannot write {path}: {error.strerror}") from error
    return 0
