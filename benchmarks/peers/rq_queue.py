"""RQ: pickled jobs in Redis, enqueued through one pipeline, results read from their streams."""

from __future__ import annotations

from collections.abc import Iterable

from redis import Redis
from rq import Queue, Retry

from benchmarks.functions import block
from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece

ENQUEUE_BATCH = 1000
RESULT_TIMEOUT_SECONDS = 600


class Rq(BlockContender):
    """Best: ``SimpleWorker``, which does not fork per job. Default settings: the forking worker."""

    def start_workers(self) -> None:
        worker = "rq.worker.Worker" if self.job.settings == "default" else "rq.worker.SimpleWorker"
        for _ in range(self.job.workers):
            self.start_module("rq.cli", "worker", "--quiet", "--worker-class", worker, "--url", self.job.broker or "")

    def connect(self) -> None:
        self.redis = Redis.from_url(self.job.broker or "", socket_timeout=None)  # results may take longer than 5 s
        self.queue = Queue(connection=self.redis)

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        retry = Retry(max=3) if self.job.kill_at and self.job.settings == "best" else None
        data = [Queue.prepare_data(block, (function, *pair), retry=retry) for pair in blocks]
        sent = []
        for first in range(0, len(data), ENQUEUE_BATCH):
            with self.redis.pipeline() as pipeline:
                sent += self.queue.enqueue_many(data[first : first + ENQUEUE_BATCH], pipeline=pipeline)
                pipeline.execute()
        for job in sent:
            result = job.latest_result(timeout=RESULT_TIMEOUT_SECONDS)
            yield result.return_value

    def close(self) -> None:
        self.redis.close()


def contender(job: Job) -> Rq:
    return Rq(job)
