"""What a driver does with a contender: bring its workers up, submit, collect, say who can be killed, go away."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.functions import FUNCTIONS, PROGRESS_RECORD_BYTES, PROGRESS_VARIABLE
from benchmarks.job import Job
from benchmarks.processes import kill_tree

Blocks = Sequence[tuple[int, int]]
Piece = tuple[int, Sequence[float]]
OnFirst = Callable[[], None]

READY_SECONDS = 60


class Contender(ABC):
    """Context manager around the workers of one contender; leaving it leaves no process behind."""

    own_command = False
    """Whether :meth:`collect` starts the command that is timed cold; otherwise the driver itself is that command."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.commands: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.configure()
        if self.job.timing != "attached":
            self.start_workers()
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            for command in self.commands:
                kill_tree(command.pid)
                command.wait()

    def configure(self) -> None:  # noqa: B027 (most have nothing to share)
        """Put into the environment what driver and workers must share."""

    def start_workers(self) -> None:  # noqa: B027 (pools have none of their own)
        """Start what executes; for pools, which are client and workers at once, :meth:`connect` does it."""

    @abstractmethod
    def connect(self) -> None:
        """Be able to submit."""

    def close(self) -> None:  # noqa: B027 (commands end without it)
        """Let go of client and workers; commands started with :meth:`start_command` are ended afterwards."""

    @abstractmethod
    def wait_until_up(self) -> None:
        """Return when every worker has executed something."""

    @abstractmethod
    def collect(self, on_first: OnFirst) -> None:
        """Do the job, from the first submit to the last value collected. This is what is timed."""

    @abstractmethod
    def count_wrong(self) -> int:
        """Number of indices whose value is missing, doubled or wrong. Not timed."""

    def start_command(self, *command: str, **environment: str) -> None:
        """Start a worker command in its own process group, its output beside the driver's log."""
        with Path(self.job.folder, f"worker-{len(self.commands)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=os.environ | environment
            )
        self.commands.append(process)

    def start_module(self, module: str, *arguments: str, **environment: str) -> None:
        """``python -m module arguments…`` as a worker command, on the driver's own interpreter."""
        self.start_command(sys.executable, "-m", module, *arguments, **environment)

    def kill_one_worker(self) -> None:
        """SIGKILL one worker with everything below it: a worker command, else the process that executed last."""
        if self.commands:
            kill_tree(self.commands[0].pid)
        else:
            os.kill(last_executing_pid(), signal.SIGKILL)


class BlockContender(Contender):
    """A contender that takes ranges and gives back lists of floats. Subclasses say how in one or two methods."""

    values: array[float] | Sequence[float]
    received = 0

    @abstractmethod
    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        """Submit every block, then yield ``(start, values)`` in any order."""

    def map_plain(self, function: str, count: int) -> Sequence[float]:
        """Hand over the plain function; only contenders that can do this are asked to."""
        raise RuntimeError(f"{self.job.peer} has no plain map")

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        seen: set[float] = set()
        while len(seen) < self.job.workers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"expected {self.job.workers} workers up, {len(seen)} answered")
            pings = [(i, i + 1) for i in range(2 * self.job.workers)]
            seen.update(value for _, values in self.map_blocks("who", pings) for value in values)

    def collect(self, on_first: OnFirst) -> None:
        job = self.job
        if job.style == "plain":
            self.values = self.map_plain(job.function, job.count)
            self.received = len(self.values)
            return
        self.values = array("d", [math.nan]) * job.count
        for start, piece in self.map_blocks(job.function, blocks_of(job.count, job.block)):
            on_first()
            self.values[start : start + len(piece)] = array("d", piece)
            self.received += len(piece)

    def count_wrong(self) -> int:
        expected = map(FUNCTIONS["f"], range(self.job.count))
        wrong = sum(value != right for value, right in zip(self.values, expected, strict=True))
        return max(wrong, abs(self.received - self.job.count))


def blocks_of(count: int, size: int) -> list[tuple[int, int]]:
    """``range(count)`` in half-open pieces of ``size``."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def executions() -> int:
    """How many executions :func:`benchmarks.functions.counted` has recorded."""
    try:
        return os.stat(os.environ[PROGRESS_VARIABLE]).st_size // PROGRESS_RECORD_BYTES
    except FileNotFoundError:
        return 0


def last_executing_pid() -> int:
    """The process that recorded the latest execution."""
    records = Path(os.environ[PROGRESS_VARIABLE]).read_text().splitlines()
    return int(records[-1].split()[1])
