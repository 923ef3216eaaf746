"""taskiq over a Redis stream with acknowledgements, pickled, results in Redis."""

from __future__ import annotations

import asyncio
import base64
import os
from array import array
from collections.abc import Iterable
from typing import Any

from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece

WORKER = ("worker", "benchmarks.peers.taskiq_app:broker", "--workers", "1", "--max-async-tasks", "1")
CHECK_SECONDS = 0.005


class Taskiq(BlockContender):
    """One worker command of one process per slot; the driver waits for results in order."""

    def configure(self) -> None:
        os.environ.update(BENCH_BROKER=self.job.broker or "", BENCH_SETTINGS=settings_of(self.job))

    def start_workers(self) -> None:
        for _ in range(self.job.workers):
            self.start_module("taskiq", *WORKER, "--log-level", "ERROR", "--no-parse")

    def connect(self) -> None:
        from benchmarks.peers import taskiq_app

        self.app = taskiq_app
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.app.broker.startup())

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        sent = self.loop.run_until_complete(self.send(function, blocks))
        for task in sent:
            result = self.loop.run_until_complete(task.wait_result(check_interval=CHECK_SECONDS))
            start, packed = result.return_value
            yield start, array("d", base64.b64decode(packed))

    async def send(self, function: str, blocks: Blocks) -> list[Any]:
        return [await self.app.run_block.kiq(function, *pair) for pair in blocks]

    def close(self) -> None:
        self.loop.run_until_complete(self.app.broker.shutdown())
        self.loop.close()


def settings_of(job: Job) -> str:
    """Name of the settings in :mod:`benchmarks.peers.taskiq_app`."""
    if job.settings == "default":
        return "default"
    if job.kill_at:
        return "crash"
    return "fast" if job.style == "single" and job.function == "f" else "fair"


def contender(job: Job) -> Taskiq:
    return Taskiq(job)
