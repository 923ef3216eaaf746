"""multiprocessing.Pool: forked processes and pipes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence

from benchmarks.functions import FUNCTIONS, block
from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece


class MpPool(BlockContender):
    """Plain: ``Pool.map`` with its own chunk size. Ranges: ``imap_unordered`` over hand-written ranges."""

    def connect(self) -> None:
        self.pool = multiprocessing.Pool(self.job.workers)

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        return self.pool.imap_unordered(one_block, [(function, *pair) for pair in blocks])

    def map_plain(self, function: str, count: int) -> Sequence[float]:
        return self.pool.map(FUNCTIONS[function], range(count))

    def close(self) -> None:
        self.pool.terminate()


def one_block(arguments: tuple[str, int, int]) -> Piece:
    return block(*arguments)


def contender(job: Job) -> MpPool:
    return MpPool(job)
