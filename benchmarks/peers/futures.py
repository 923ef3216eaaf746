"""concurrent.futures.ProcessPoolExecutor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from benchmarks.functions import FUNCTIONS, block
from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece

CHUNKS_PER_WORKER = 16
"""The executor's own default is one message per value; without a chunk size a plain map would crawl."""


class Futures(BlockContender):
    """Plain: ``map`` with a chunk size. Ranges: one future per hand-written range."""

    def connect(self) -> None:
        self.pool = ProcessPoolExecutor(self.job.workers)

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        futures = [self.pool.submit(block, function, *pair) for pair in blocks]
        return (future.result() for future in as_completed(futures))

    def map_plain(self, function: str, count: int) -> Sequence[float]:
        size = max(1, count // (self.job.workers * CHUNKS_PER_WORKER))
        return list(self.pool.map(FUNCTIONS[function], range(count), chunksize=size))

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)


def contender(job: Job) -> Futures:
    return Futures(job)
