"""joblib with its loky backend, memory mapping off (nothing here is large enough)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from joblib import Parallel, delayed

from benchmarks.functions import FUNCTIONS, block
from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece


class Joblib(BlockContender):
    """Plain: ``Parallel`` with automatic batches. Ranges: one call per hand-written range."""

    def connect(self) -> None:
        self.parallel = Parallel(n_jobs=self.job.workers, max_nbytes=None)
        self.parallel.__enter__()

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        pieces: list[Piece] = self.parallel(delayed(block)(function, *pair) for pair in blocks)
        return pieces

    def map_plain(self, function: str, count: int) -> Sequence[float]:
        call = delayed(FUNCTIONS[function])
        values: list[float] = self.parallel(call(i) for i in range(count))
        return values

    def close(self) -> None:
        self.parallel.__exit__(None, None, None)


def contender(job: Job) -> Joblib:
    return Joblib(job)
