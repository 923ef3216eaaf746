"""From what became of a task to its outcome, and outcomes into the broker until they are recorded there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ttg.backoff import Backoff
from ttg.brokers.base import Broker, Settlement
from ttg.clock import unix_time
from ttg.worker.config import Summary
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.leases import Lease, Leases
from ttg.worker.outcome import Ended, Executor, dropped, given_back, outcome_of
from ttg.worker.run_cache import KnownRun

BATCH_TASKS, BATCH_BYTES = 128, 32 << 20


class Observer(Protocol):
    """Told of named moments, for tests; does nothing otherwise.

    ``leased``, ``assigned``, ``announced``, ``reported``, ``before_settle``, ``after_settle``, ``lost``, ``draining``,
    ``child_ready``, ``child_died``, ``child_gone``.
    """

    def __call__(self, moment: str, **data: Any) -> None: ...


@dataclass(eq=False)
class Settler:
    """Settles in the order of completion, several at a time. ``on_change`` is called when something has changed."""

    broker: Broker
    backoff: Backoff
    leases: Leases
    summary: Summary
    events: EventBuffer
    observe: Observer
    on_change: Callable[[], None]
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    # -- completing

    def end(self, lease: Lease, run: KnownRun, ended: Ended, slot: int = 0, started: float | None = None) -> None:
        """The one way from an end to an outcome. What belongs to a run that is over leaves the queue, and no trace."""
        if not run.is_active:
            self.drop(lease)
            return
        now = unix_time()
        by = Executor(self.summary.worker, slot, now if started is None else started, run.parameters_of)
        self.leases.complete(lease, outcome_of(run.spec, lease.task, ended, by, now), ended.failures, returned=False)
        self._wake()

    def drop(self, lease: Lease) -> None:
        """Remove a task that nobody wants executed."""
        self.leases.complete(lease, dropped(lease.task, self._nobody()), returned=False)
        self._wake()

    def give_back(self, lease: Lease) -> None:
        """Return a task untouched. Settling it, rather than releasing, leaves no trace of this delivery: a task that
        was given back often must not look like one that kills workers."""
        self.leases.complete(lease, given_back(lease.task, self._nobody()), returned=True)
        self._wake()

    def _nobody(self) -> Executor:
        return Executor(self.summary.worker, 0, unix_time())

    def _wake(self) -> None:
        self._arrived.set()
        self.on_change()

    # -- settling

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self.leases.batch(BATCH_TASKS, BATCH_BYTES):
                await self._settle(batch)

    async def _settle(self, batch: list[Lease]) -> None:
        self.observe("before_settle", batch=batch)
        settlements = [Settlement(lease.delivery, lease.outcome) for lease in batch if lease.outcome]
        settled = await self.backoff.call(lambda: self.broker.settle(settlements))
        for lease, ours in zip(batch, settled, strict=True):
            self.leases.settle(lease, ours)
            self._account(lease, ours)
        self.observe("after_settle", batch=batch, settled=settled)
        self.on_change()

    def _account(self, lease: Lease, ours: bool) -> None:
        if not ours or lease.outcome is None:
            self.observe("lost", delivery=lease.delivery)
            return
        if lease.returned:
            return
        header = lease.outcome.header
        self.summary.chunks_processed += 1
        self.summary.parameters_processed += header.count
        self.summary.parameters_failed += len(lease.failures)
        self.summary.dead_letters += len(header.dead)
        self.events.settled(lease.task, lease.outcome, lease.failures, lease.delivery.deliveries)
