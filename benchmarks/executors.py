"""Executors beside each other: ``python -m benchmarks.executors [NAME …] [--rounds N] [--calls N]``.

Each measurement is a process of its own with two workers; rounds are interleaved. What is measured: seconds until the
first result, milliseconds of one call alone (median and 99 %), calls per second by ``submit`` and by ``map``, and the
MiB that the program itself takes with 10⁵ futures pending. Peers that are not installed are left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

PEERS = {"ttg": "ttg", "ProcessPoolExecutor": "concurrent", "loky": "loky", "Dask": "distributed", "Ray": "ray"}
LATENCIES = 500
PENDING = 100_000


def square(x: int) -> int:
    return x * x


def make(name: str) -> Any:
    """The peer's executor with two workers."""
    if name == "ttg":
        import ttg

        return ttg.Executor(2)
    if name == "ProcessPoolExecutor":
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(2)
    if name == "loky":
        from loky import ProcessPoolExecutor as LokyExecutor

        return LokyExecutor(2)
    if name == "Dask":
        from distributed import Client, LocalCluster

        return Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)).get_executor()
    return _Ray()


class _Ray:
    """Ray has no executor: remote calls and their futures."""

    def __init__(self) -> None:
        import ray

        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
        self._ray, self._remote = ray, ray.remote(square)

    def submit(self, function: Callable[..., Any], x: int) -> Any:
        return self._remote.remote(x).future()

    def map(self, function: Callable[..., Any], xs: Any) -> Any:
        return self._ray.get([self._remote.remote(x) for x in xs])


def measure(name: str, calls: int) -> dict[str, float]:
    """The figures of one process."""
    began = time.perf_counter()
    executor = make(name)
    executor.submit(square, 1).result()
    found = {"start": time.perf_counter() - began}
    took = []
    for x in range(LATENCIES):
        began = time.perf_counter()
        executor.submit(square, x).result()
        took.append(1e3 * (time.perf_counter() - began))
    took.sort()
    found |= {"median": took[LATENCIES // 2], "late": took[int(0.99 * LATENCIES)]}
    expected = [x * x for x in range(calls)]
    began = time.perf_counter()
    assert [future.result() for future in [executor.submit(square, x) for x in range(calls)]] == expected
    found["submit"] = calls / (time.perf_counter() - began)
    began = time.perf_counter()
    assert list(executor.map(square, range(calls))) == expected
    found["map"] = calls / (time.perf_counter() - began)
    if name in ("ttg", "ProcessPoolExecutor", "loky"):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        futures = [executor.submit(time.sleep, 0) for _ in range(PENDING)]
        found["pending"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert all(future.result() is None for future in futures)
    return found


def main() -> None:
    """Interleave the peers and print the medians as a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*PEERS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.names[0], chosen.calls)), flush=True)
        os._exit(0)
    missing = [name for name in chosen.names if find_spec(PEERS[name]) is None]
    for name in missing:
        print(f"{name}: not installed", file=sys.stderr)
    names = [name for name in chosen.names if name not in missing]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(chosen.rounds):
        for name in names:
            command = [sys.executable, "-m", "benchmarks.executors", name, "--one", "--calls", str(chosen.calls)]
            with tempfile.TemporaryFile("w+") as said:  # not a pipe: what some leave behind would hold it open
                subprocess.run(command, stdout=said, stderr=subprocess.DEVNULL, check=True)
                said.seek(0)
                found[name].append(json.loads(said.read().strip().splitlines()[-1]))
    for name, figures in found.items():
        print(row(name, figures))


def row(name: str, figures: list[dict[str, float]]) -> str:
    """Medians of all rounds."""
    middle = {key: statistics.median(one[key] for one in figures) for key in figures[0]}
    pending = f" {middle['pending']:,.0f} MiB |" if "pending" in middle else " |"
    times = f"{middle['start']:.2f} s | {middle['median']:.2f} ms | {middle['late']:.2f} ms"
    return f"| {name} | {times} | {middle['submit']:,.0f} | {middle['map']:,.0f} |{pending}"


if __name__ == "__main__":
    main()
