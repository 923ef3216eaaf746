"""Outcomes on their way into the broker: kept until they are committed, or refused as somebody else's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ttg.backoff import Backoff
from ttg.brokers.base import Broker, Delivery, Settlement
from ttg.clock import unix_time
from ttg.messages import Failure, Outcome
from ttg.worker.config import Summary
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.outcome import (
    Ended,
    Executor,
    ParametersOf,
    dropped,
    given_back,
    no_parameters,
    outcome_of,
)
from ttg.worker.run_cache import KnownRun

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
    """Settles in the order of arrival, several at a time. ``on_change`` is called when the queue has changed."""

    broker: Broker
    backoff: Backoff
    summary: Summary
    events: EventBuffer
    observe: Observer
    on_change: Callable[[], None]
    waiting: deque[Finished] = field(default_factory=deque)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    # -- queueing

    def end(self, delivery: Delivery, run: KnownRun, ended: Ended, slot: int = 0, started: float | None = None) -> None:
        """The one way from an end to an outcome. What belongs to a run that is over leaves the queue, and no trace."""
        if not run.is_active:
            self.drop(delivery)
            return
        by = self._executor(slot, started, run.parameters_of)
        self._add(delivery, outcome_of(run.spec, delivery.task, ended, by, unix_time()), ended.failures)

    def drop(self, delivery: Delivery) -> None:
        """Remove a task that nobody wants executed."""
        self._add(delivery, dropped(delivery.task, self._executor()))

    def give_back(self, delivery: Delivery) -> None:
        """Return a task untouched. Settling it, rather than releasing, leaves no trace of this delivery: a task that
        was given back often must not look like one that kills workers."""
        self._add(delivery, given_back(delivery.task, self._executor()))

    def _executor(
        self, slot: int = 0, started: float | None = None, parameters_of: ParametersOf = no_parameters
    ) -> Executor:
        return Executor(self.summary.worker, slot, unix_time() if started is None else started, parameters_of)

    def _add(self, delivery: Delivery, outcome: Outcome, failures: Sequence[Failure] = ()) -> None:
        self.waiting.append(Finished(delivery, outcome, failures))
        self._arrived.set()
        self.on_change()

    # -- settling

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
        settled = await self.backoff.call(lambda: self.broker.settle(settlements))
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
        self.events.note_settled(delivery.task, finished.outcome, finished.failures, delivery.deliveries)
