"""Programs beside each other: ``python -m benchmarks.programs [NAME …] [--program true|sleep] [--count N]``.

Each measurement is a process of its own that executes ``/bin/true``, or ``sleep 0.02``, N times, two at once; rounds
(``--rounds``) are interleaved. What is measured are seconds from the first submit, or the start of the command, until
all have ended well: for TTG with its broker, workers and table, for GNU parallel with its own start; HyperQueue's
server and worker are up before (its Python client submits, and nothing of the output is kept). ``subprocess`` is a
function of TTG's that calls ``subprocess.run``; ``plain`` are two loops around ``posix_spawn``, which nobody can beat.
Peers that are not installed are left out, and that is said.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

SLOTS = 2


@dataclass(frozen=True)
class Workload:
    """``command`` with one placeholder, for which ``values(count)`` are as many texts; ``axis`` is the same for TTG."""

    command: tuple[str, ...]
    function: str
    axis: str
    values: Callable[[int], list[str]]

    def of(self, value: str) -> list[str]:
        """One command line."""
        return [value if word == "{x}" else word for word in self.command]


# Two arguments: with one alone /bin/true looks for translations, which takes longer than all else that it does.
WORKLOADS = {
    "true": Workload(("/bin/true", "--", "{x}"), "true", "x=range({})", lambda count: list(map(str, range(count)))),
    "sleep": Workload(("sleep", "{x}"), "pause", "x=linspace(0.02,0.02,{})", lambda count: ["0.02"] * count),
}


def true(x: int) -> None:
    subprocess.run(["/bin/true", "--", str(x)], check=True)


def pause(x: float) -> None:
    subprocess.run(["sleep", str(x)], check=True)


def by_ttg(work: Workload, count: int, function: Sequence[str] = (), program: Sequence[str] = ()) -> float:
    """A whole ``ttg run``, its table included, which ends with 0 when that has all rows."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--workers", str(SLOTS), "--out", f"{folder}/run", "--quiet", *program]
        command = [sys.executable, "-m", "ttg", "run", *function, work.axis.format(count), *options]
        began = time.perf_counter()
        subprocess.run(command, env=os.environ | {"TTG_HOME": folder}, check=True)
        return time.perf_counter() - began


def by_parallel(work: Workload, count: int) -> float:
    """GNU parallel, which ends with the number of jobs that failed."""
    began = time.perf_counter()
    command = ["parallel", "--will-cite", f"-j{SLOTS}", *work.of("{}")]
    subprocess.run(command, input="\n".join(work.values(count)), stdout=subprocess.DEVNULL, text=True, check=True)
    return time.perf_counter() - began


def by_hyperqueue(work: Workload, count: int) -> float:
    """A job of as many tasks, to a server and a worker of two cores that are up."""
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    with tempfile.TemporaryDirectory() as folder, LocalCluster(folder, WorkerConfig(SLOTS)) as cluster:
        client = cluster.client()
        began = time.perf_counter()
        job = Job(default_workdir=folder)
        for value in work.values(count):
            job.program(work.of(value), stdout=None, stderr=None)
        assert client.wait_for_jobs([client.submit(job)])
        return time.perf_counter() - began


def by_loops(work: Workload, count: int) -> float:
    """Two processes that start one after the other, and keep nothing."""
    began = time.perf_counter()
    context = multiprocessing.get_context("fork")
    values = work.values(count)
    loops = [context.Process(target=_loop, args=(work, values[number::SLOTS])) for number in range(SLOTS)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
        assert not loop.exitcode
    return time.perf_counter() - began


def _loop(work: Workload, values: list[str]) -> None:
    file = shutil.which(work.command[0]) or ""
    for value in values:
        assert os.waitpid(os.posix_spawn(file, work.of(value), os.environ), 0)[1] == 0


def _program(work: Workload, count: int) -> float:
    return by_ttg(work, count, program=["--", *work.command])


def _function(work: Workload, count: int) -> float:
    return by_ttg(work, count, [f"{__file__}:{work.function}"])


PEERS: dict[str, Callable[[Workload, int], float]] = {
    "ttg": _program,
    "subprocess": _function,
    "parallel": by_parallel,
    "HyperQueue": by_hyperqueue,
    "plain": by_loops,
}
FOUND: dict[str, Callable[[], object]] = {
    "parallel": partial(shutil.which, "parallel"),
    "HyperQueue": partial(find_spec, "hyperqueue"),
}


def main() -> None:
    """Interleave the peers and print programs per second as a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*PEERS])
    parser.add_argument("--program", choices=WORKLOADS, default="true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(PEERS[chosen.names[0]](WORKLOADS[chosen.program], chosen.count), flush=True)
        os._exit(0)  # threads of HyperQueue's would go on
    absent = [name for name in chosen.names if name in FOUND and FOUND[name]() is None]
    for name in absent:
        print(f"{name}: not installed", file=sys.stderr)
    rates: dict[str, list[float]] = {name: [] for name in chosen.names if name not in absent}
    for _ in range(chosen.rounds):
        for name, found in rates.items():
            options = ["--program", chosen.program, "--count", str(chosen.count)]
            command = [sys.executable, "-m", "benchmarks.programs", name, "--one", *options]
            said = subprocess.run(command, capture_output=True, check=False, text=True)
            if said.returncode:
                sys.exit(f"{name}: exit code {said.returncode}\n{said.stderr}")
            found.append(chosen.count / float(said.stdout.split()[-1]))
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):,.0f}/s | {min(found):,.0f} to {max(found):,.0f} |")


if __name__ == "__main__":
    main()
