"""``ttg run … --on kubernetes``: the same command, its arguments sent to a coordinator in the cluster."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ttg import units

PASSED_ON = (
    "params",
    "sample",
    "method",
    "seed",
    "chunk_size",
    "priority",
    "retries",
    "retry_delay",
    "timeout",
    "checkpoint",
    "max_failures",
    "keep_results",
)
POD_BYTES = 1 << 30
DEFAULTS = {"method": "random", "seed": 0, "priority": 0}


def run_on_kubernetes(args: argparse.Namespace) -> int:
    """Start the run on the cluster that kubectl talks to, follow it, and bring its dataset back."""
    from ttg.kube import cluster
    from ttg.kube.kubectl import Kubectl
    from ttg.kube.layout import Cluster, Sweep
    from ttg.run.request import made_up_id

    run = args.run_id or made_up_id(args.target.rpartition(":")[2])
    where = Cluster(backend=args.backend, image=args.image)
    memory = units.size_bytes(args.memory, "--memory") or POD_BYTES
    workers = 3 if args.workers is None else args.workers
    sweep = Sweep(run=run, arguments=sweep_arguments(args), workers=workers, slots=args.slots, memory_mib=memory >> 20)
    out = Path(args.out) if args.out else Path("ttg-runs") / run
    try:
        return cluster.run(Kubectl(namespace=where.namespace), where, sweep, out, _say)
    except KeyboardInterrupt:
        _say(f"run {run} goes on in the cluster: the same command with --run-id {run} follows it and fetches its table")
        return 4


def sweep_arguments(args: argparse.Namespace) -> tuple[str, ...]:
    """What of a parsed ``ttg run`` the coordinator in the cluster must be told."""
    words = [args.target, *args.axes]
    words += ["--zip"] if args.zip else []
    words += ["--vectorized"] if args.vectorized else []
    for name in PASSED_ON:
        value = getattr(args, name)
        if value is not None and value != DEFAULTS.get(name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return tuple(words)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
