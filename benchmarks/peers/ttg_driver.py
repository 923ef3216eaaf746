"""TTG, through its public command only: values are read back from the Parquet parts that it leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks import functions
from benchmarks.job import Job
from benchmarks.peers.base import READY_SECONDS, Contender, OnFirst
from benchmarks.processes import descendants, kill_tree

TARGET_FILE = functions.__file__
POLL_SECONDS = 0.002


class Ttg(Contender):
    """Steady with a broker: ``ttg worker`` commands are up, and ``ttg run --workers 0`` is called in this warm process.
    Steady without: the command is called in this warm process; its private server and workers start inside the timed
    period. Cold: ``python -m ttg run`` as a command of its own, workers (and server) included.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.own_command = job.timing in ("cold", "attached")
        self.out = Path(job.folder, "attached" if job.timing == "attached" else "run")
        self.command: subprocess.Popen[bytes] | None = None

    def start_workers(self) -> None:
        if self.job.broker and self.job.timing != "cold":
            for _ in range(self.job.workers):
                self.start_module("ttg", "worker", "--broker", self.job.broker, "--allow", "*")

    def connect(self) -> None:
        """The command connects by itself."""

    def wait_until_up(self) -> None:
        """Run a few parameters until as many processes have answered as there are workers."""
        deadline = time.monotonic() + READY_SECONDS
        answered = attempt = 0
        while answered < self.job.workers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"expected {self.job.workers} workers up, {answered} answered")
            attempt += 1
            out = Path(self.job.folder, f"warm-up-{attempt}")
            self.run_here(self.arguments("who", 4 * self.job.workers, out, ["--chunk-size", "1"]))
            answered = len({value for part in parts(out) for value in column(part, "result")})

    def collect(self, on_first: OnFirst) -> None:
        arguments = self.arguments(self.job.function, self.job.count, self.out, self.chunking())
        if not self.own_command:
            watching = threading.Thread(target=self.watch_for_first, args=(on_first, lambda: False), daemon=True)
            if self.job.workload == "start":
                watching.start()
            self.run_here(arguments)
            return
        command = subprocess.Popen([sys.executable, "-m", "ttg", *arguments], stdout=sys.stderr)
        self.command = command
        self.commands.append(command)
        self.watch_for_first(on_first, lambda: command.poll() is not None)
        if code := self.command.wait():
            raise RuntimeError(f"ttg run ended with exit code {code}")
        on_first()

    def watch_for_first(self, on_first: OnFirst, is_over: Callable[[], bool]) -> None:
        """Say when the first part is on disk."""
        while not is_over():
            if parts(self.out):
                on_first()
                return
            time.sleep(POLL_SECONDS)

    def run_here(self, arguments: list[str]) -> None:
        from ttg.cli import main

        if code := main(arguments):
            raise RuntimeError(f"ttg run ended with exit code {code}")

    def arguments(self, function: str, count: int, out: Path, options: list[str]) -> list[str]:
        """What a user would type after ``ttg``."""
        workers = self.job.workers if self.starts_its_own_workers else 0
        broker = ["--broker", self.job.broker] if self.job.broker else []
        where = ["--out", str(out), "--workers", str(workers), "--no-replace", "--quiet"]
        return ["run", f"{TARGET_FILE}:{function}", f"i=range(0,{count})", *where, *broker, *options]

    @property
    def starts_its_own_workers(self) -> bool:
        return self.job.broker is None or self.job.timing == "cold"

    def chunking(self) -> list[str]:
        return [] if self.job.style == "auto" else ["--chunk-size", str(self.job.block)]

    def kill_one_worker(self) -> None:
        """One ``ttg worker`` with its child, wherever it was started from."""
        roots = {command.pid for command in self.commands}
        below = {pid for root in roots for pid in descendants(root)}
        kill_tree(min(pid for pid in below if is_worker(pid)))

    def count_wrong(self) -> int:
        """Every index exactly once and with its value, or it counts as wrong."""
        seen = np.zeros(self.job.count, dtype=bool)
        rows = wrong = 0
        for part in parts(self.out):
            index, result = column(part, "index"), column(part, "result")
            seen[index] = True
            rows += len(index)
            wrong += int(np.count_nonzero(result != expected(index)))
        return wrong + int(np.count_nonzero(~seen)) + abs(rows - self.job.count)


def parts(out: Path) -> list[Path]:
    return sorted(out.glob("results/*.parquet"))


def column(part: Path, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = pq.read_table(part, columns=[name]).column(0).to_numpy()
    return values


def expected(index: NDArray[np.float64]) -> NDArray[np.float64]:
    """:func:`benchmarks.functions.f` over a column; the same roundings as Python's."""
    return (index * 7 + 13) % 1000 + (index % 100) / 100


def is_worker(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(words[i : i + 2] == [b"ttg", b"worker"] for i in range(len(words)))


def contender(job: Job) -> Ttg:
    return Ttg(job)
