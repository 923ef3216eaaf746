"""Dramatiq on Redis and on RabbitMQ, where it has no result store: results go through a Redis in both cases."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from benchmarks.brokers import redis_server
from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece

RESULT_TIMEOUT_MS = 600_000
TINY_PREFETCH = "1000"
"""On Redis a worker that holds as many messages as it may sleeps before it asks again: often, with the shipped 2."""

WORKER = ("benchmarks.peers.dramatiq_app", "--processes", "1", "--threads", "1")


class DramatiqQueue(BlockContender):
    """One worker command of one process and one thread per slot; prefetch 1, or many where messages are tiny."""

    def configure(self) -> None:
        job, url = self.job, self.job.broker or ""
        self.result_store: contextlib.ExitStack = contextlib.ExitStack()
        os.environ.update(BENCH_BROKER=url, BENCH_SETTINGS=settings_of(job))
        os.environ.setdefault("BENCH_RESULTS", url if url.startswith("redis") else self.start_result_store())
        if job.settings == "best":
            tiny = job.style == "single" and job.function == "f"
            os.environ["dramatiq_queue_prefetch"] = TINY_PREFETCH if tiny else "1"  # noqa: SIM112 (its own spelling)

    def start_result_store(self) -> str:
        return self.result_store.enter_context(redis_server(Path(self.job.folder, "result-store")))

    def start_workers(self) -> None:
        for _ in range(self.job.workers):
            self.start_module("dramatiq", *WORKER)

    def connect(self) -> None:
        from benchmarks.peers import dramatiq_app

        self.app = dramatiq_app

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        sent = [self.app.run_block.send(function, *pair) for pair in blocks]
        for message in sent:
            yield message.get_result(block=True, timeout=RESULT_TIMEOUT_MS)

    def close(self) -> None:
        self.app.broker.close()
        self.result_store.close()


def settings_of(job: Job) -> str:
    return "crash" if job.settings == "best" and job.kill_at else "default"


def contender(job: Job) -> DramatiqQueue:
    return DramatiqQueue(job)
