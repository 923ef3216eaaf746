"""Dask: a distributed scheduler in the driver, one single-threaded worker process per slot, no dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dask
from distributed import Client, LocalCluster, as_completed

from benchmarks.functions import FUNCTIONS, block
from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece

WORKER = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0")


class Dask(BlockContender):
    """Ranges: ``Client.map``. Plain: a Dask bag. Workers have no nanny, so that a killed one is not replaced."""

    def start_workers(self) -> None:
        dask.config.set({"distributed.worker.daemon": False})
        self.cluster = LocalCluster(
            n_workers=0, processes=True, dashboard_address=None, host="127.0.0.1", silence_logs="ERROR"
        )
        for _ in range(self.job.workers):
            self.start_module("distributed.cli.dask_worker", self.cluster.scheduler_address, *WORKER)

    def connect(self) -> None:
        self.client = Client(self.cluster, set_as_default=True)

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        starts, stops = zip(*blocks, strict=True)
        futures = self.client.map(block, [function] * len(blocks), starts, stops, pure=False)
        return (piece for _, piece in as_completed(futures, with_results=True))

    def map_plain(self, function: str, count: int) -> Sequence[float]:
        import dask.bag

        bag = dask.bag.from_sequence(range(count), npartitions=4 * self.job.workers)
        values: list[float] = bag.map(FUNCTIONS[function]).compute(scheduler=self.client)
        return values

    def close(self) -> None:
        self.client.close(timeout=2)
        self.cluster.close(timeout=2)


def contender(job: Job) -> Dask:
    return Dask(job)
