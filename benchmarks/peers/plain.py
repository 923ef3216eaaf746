"""The limit: plain processes at once, each with a plain loop over its share. Nothing travels, nothing is collected."""

from __future__ import annotations

import collections
import multiprocessing
from multiprocessing.synchronize import Barrier

from benchmarks.functions import FUNCTIONS
from benchmarks.job import Job
from benchmarks.peers.base import Contender, OnFirst


class Plain(Contender):
    """Processes wait at a barrier until all are up, so that only the loops are timed."""

    def connect(self) -> None:
        job = self.job
        self.start_line: Barrier = multiprocessing.Barrier(job.workers + 1)
        shares = [range(first, job.count, job.workers) for first in range(job.workers)]
        arguments = [(job.function, share, self.start_line) for share in shares]
        self.processes = [multiprocessing.Process(target=loop, args=each) for each in arguments]
        for process in self.processes:
            process.start()

    def wait_until_up(self) -> None:
        """The barrier does it."""

    def collect(self, on_first: OnFirst) -> None:
        self.start_line.wait()
        for process in self.processes:
            process.join()

    def count_wrong(self) -> int:
        return sum(process.exitcode != 0 for process in self.processes)

    def close(self) -> None:
        for process in self.processes:
            process.kill()


def loop(function: str, share: range, start_line: Barrier) -> None:
    start_line.wait()
    collections.deque(map(FUNCTIONS[function], share), maxlen=0)


def contender(job: Job) -> Plain:
    return Plain(job)
