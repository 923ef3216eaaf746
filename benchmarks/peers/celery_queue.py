"""Celery on Redis (results in Redis) and on RabbitMQ (results over its rpc backend)."""

from __future__ import annotations

import os
from collections.abc import Iterable

from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece

QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR")


class CeleryQueue(BlockContender):
    """Best: one worker per slot, no gossip, pool and prefetch by workload, late acknowledgement where a worker is
    killed. Default settings: one prefork worker per slot, everything as shipped.
    """

    def configure(self) -> None:
        os.environ.update(BENCH_BROKER=self.job.broker or "", BENCH_SETTINGS=settings_of(self.job))
        os.environ["C_FORCE_ROOT"] = "1"  # pickled messages on a private broker, also where everything runs as root

    def start_workers(self) -> None:
        options = ("--loglevel", "ERROR") if self.job.settings == "default" else ("--pool", pool_of(self.job), *QUIET)
        for slot in range(self.job.workers):
            name = ("--concurrency", "1", "--hostname", f"worker{slot}@bench")
            self.start_module("celery", "-A", "benchmarks.peers.celery_app", "worker", *name, *options)

    def connect(self) -> None:
        from benchmarks.peers import celery_app

        self.app = celery_app

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        with self.app.app.producer_pool.acquire(block=True) as producer:
            sent = [self.app.run_block.apply_async((function, *pair), producer=producer) for pair in blocks]
        return (result.get() for result in sent)  # ResultSet.iter_native was seen to idle for half a second and more

    def close(self) -> None:
        self.app.app.close()


def settings_of(job: Job) -> str:
    """Name of the settings in :mod:`benchmarks.peers.celery_app`."""
    if job.settings == "default":
        return "default"
    if job.kill_at:
        return "crash"
    return "fast" if job.function in ("f", "burn") else "fair"


def pool_of(job: Job) -> str:
    """Solo saves a hop, but with prefetch 1 on RabbitMQ it was seen to overlook a delivered message for seconds."""
    stalls = job.peer == "celery-rabbitmq" and settings_of(job) != "fast"
    return "prefork" if stalls else "solo"


def contender(job: Job) -> CeleryQueue:
    return CeleryQueue(job)
