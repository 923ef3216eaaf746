"""Outcomes on their way into the broker: kept until they are committed, or refused as somebody else's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ttg.brokers.base import Broker, Delivery, Settlement
from ttg.brokers.patience import Patience
from ttg.messages import Failure, Outcome
from ttg.worker.config import Summary
from ttg.worker.gazette import Gazette

BATCH_TASKS, BATCH_BYTES = 128, 32 << 20


class Observer(Protocol):
    """Told of named moments, for tests; does nothing otherwise.

    ``leased``, ``assigned``, ``announced``, ``reported``, ``before_settle``, ``after_settle``, ``lost``, ``draining``,
    ``child_ready``, ``child_died``, ``child_gone``.
    """

    def __call__(self, moment: str, **data: Any) -> None: ...


@dataclass(eq=False, slots=True)
class Finished:
    """An outcome that waits to be settled."""

    delivery: Delivery
    outcome: Outcome
    failures: Sequence[Failure] = ()


@dataclass(eq=False)
class Settler:
    """Settles in the order of arrival, several at a time. ``on_change`` is called when the queue became shorter."""

    broker: Broker
    patience: Patience
    summary: Summary
    gazette: Gazette
    observe: Observer
    on_change: Callable[[], None]
    waiting: deque[Finished] = field(default_factory=deque)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, finished: Finished) -> None:
        """Queue an outcome."""
        self.waiting.append(finished)
        self._arrived.set()

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            await self._arrived.wait()
            while self.waiting:
                await self._settle(self._next_batch())
            self._arrived.clear()

    async def _settle(self, batch: list[Finished]) -> None:
        self.observe("before_settle", batch=batch)
        settlements = [Settlement(finished.delivery, finished.outcome) for finished in batch]
        settled = await self.patience.call(lambda: self.broker.settle(settlements))
        for finished, ours in zip(batch, settled, strict=True):
            self.waiting.popleft()
            self._account(finished, ours)
        self.observe("after_settle", batch=batch, settled=settled)
        self.on_change()

    def _next_batch(self) -> list[Finished]:
        batch: list[Finished] = []
        size = 0
        for finished in self.waiting:
            size += len(finished.outcome.payload)
            if batch and (len(batch) >= BATCH_TASKS or size > BATCH_BYTES):
                break
            batch.append(finished)
        return batch

    def _account(self, finished: Finished, ours: bool) -> None:
        if not ours:
            self.observe("lost", delivery=finished.delivery)
            return
        header, delivery = finished.outcome.header, finished.delivery
        self.summary.chunks_processed += 1
        self.summary.parameters_processed += header.count
        self.summary.parameters_failed += len(finished.failures)
        self.summary.dead_letters += len(header.dead)
        self.gazette.note_settled(delivery.task, finished.outcome, finished.failures, delivery.deliveries)
