"""Ray on one machine, dashboard and log forwarding off, a small object store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ray
from ray.util import ActorPool

from benchmarks.functions import block
from benchmarks.job import Job
from benchmarks.peers.base import BlockContender, Blocks, Piece

OBJECT_STORE_BYTES = 256 * 2**20


class Ray(BlockContender):
    """Best: one task per range (Ray retries and replaces a dead worker). Default settings: a pool of actors."""

    def connect(self) -> None:
        ray.init(
            num_cpus=self.job.workers,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=OBJECT_STORE_BYTES,
        )
        self.task = ray.remote(num_cpus=1)(block)
        self.actors: ActorPool | None = None

    def map_blocks(self, function: str, blocks: Blocks) -> Iterable[Piece]:
        if self.job.settings == "default":
            calls = [(function, *pair) for pair in blocks]
            pieces: Iterable[Piece] = self.actor_pool().map_unordered(call_actor, calls)
            return pieces
        return self.gather([self.task.remote(function, *pair) for pair in blocks])

    def gather(self, references: list[Any]) -> Iterable[Piece]:
        while references:
            done, references = ray.wait(references, num_returns=min(100, len(references)), timeout=0.01)
            yield from ray.get(done)

    def actor_pool(self) -> ActorPool:
        if self.actors is None:
            actor = ray.remote(num_cpus=1)(BlockActor)
            self.actors = ActorPool([actor.remote() for _ in range(self.job.workers)])
        return self.actors

    def close(self) -> None:
        ray.shutdown()


class BlockActor:
    """A stateless actor."""

    def run(self, function: str, start: int, stop: int) -> Piece:
        return block(function, start, stop)


def call_actor(actor: Any, arguments: tuple[str, int, int]) -> Any:
    return actor.run.remote(*arguments)


def contender(job: Job) -> Ray:
    return Ray(job)
