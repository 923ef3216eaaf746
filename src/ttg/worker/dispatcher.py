"""What to do with a task that was just leased: execute it, refuse it, look closer, or wait for its run to be known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from ttg.backoff import Backoff
from ttg.brokers.base import Delivery
from ttg.errors import MessageError
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.outcome import ended_by_lost_workers
from ttg.worker.run_cache import KnownRun, RunCache
from ttg.worker.settler import Settler

log = logging.getLogger("ttg.worker")

HOLD_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 1.0
UNKNOWN_RUN_LOOKS = 5


@dataclass(eq=False)
class Dispatcher:
    """Every task passes :meth:`dispatch` once. It is ``on_hold``, its lease renewed, until its fate is known.

    ``assign`` hands a task to a slot. ``start`` runs a coroutine in the background and reports its errors.
    """

    runs: RunCache
    backoff: Backoff
    events: EventBuffer
    settler: Settler
    assign: Callable[[KnownRun, Delivery], None]
    start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    on_hold: set[Delivery] = field(default_factory=set)
    _waits: set[asyncio.Task[None]] = field(default_factory=set)

    async def dispatch(self, delivery: Delivery) -> None:
        """Find out what to do with a leased task, and do it."""
        try:
            run = await self.backoff.call(lambda: self.runs.find(delivery.task))
        except MessageError as error:
            self._quarantine(delivery, str(error))
            return
        if self.runs.is_stale(delivery.task):
            self._drop_stale(delivery)
        elif run is None:
            self._start(self._wait_for_run(delivery))
        else:
            self._dispatch_to(run, delivery)

    def hold(self, run: KnownRun, delivery: Delivery) -> None:
        """Keep a task that this worker refuses for a while, so that nobody spins; then let others have it."""
        self.on_hold.add(delivery)
        self.events.note_refused(run.name, run.record.identity, run.refusal, run.lasting)
        self._start(self._requeue_later(run, delivery))

    def requeue_all(self) -> None:
        """Give back what is on hold: the worker leaves."""
        for wait in self._waits:
            wait.cancel()
        while self.on_hold:
            self.settler.give_back(self.on_hold.pop())

    def _dispatch_to(self, run: KnownRun, delivery: Delivery) -> None:
        if run.is_active and run.refusal:
            self.hold(run, delivery)
            return
        self.on_hold.discard(delivery)
        if not run.is_active:
            self.settler.drop(delivery)
        elif ended := ended_by_lost_workers(delivery.task, delivery.deliveries):
            log.warning("task %s was lost with %d workers: looking closer", delivery.task.id, delivery.deliveries - 1)
            self.settler.end(delivery, run, ended)
        else:
            self.assign(run, delivery)

    async def _wait_for_run(self, delivery: Delivery) -> None:
        """The broker may learn of the run a moment later; a task of a run that nobody knows is quarantined."""
        for _ in range(UNKNOWN_RUN_LOOKS):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            try:
                run = await self.backoff.call(lambda: self.runs.find(delivery.task))
            except MessageError as error:
                self._quarantine(delivery, str(error))
                return
            if run is not None:
                self._dispatch_to(run, delivery)
                return
            if self.runs.is_stale(delivery.task):
                self._drop_stale(delivery)
                return
        self._quarantine(delivery, f"run {delivery.task.run} is unknown to this broker")

    def _drop_stale(self, delivery: Delivery) -> None:
        """It belongs to another run that went by this id, or was submitted again by a newer coordinator of its own."""
        log.debug("task %s of another life of its run is dropped", delivery.task.key)
        self.on_hold.discard(delivery)
        self.settler.drop(delivery)

    async def _requeue_later(self, run: KnownRun, delivery: Delivery) -> None:
        await asyncio.sleep(HOLD_SECONDS)
        if self.runs.known(run.name) in (run, None):
            self.on_hold.discard(delivery)
            self.settler.give_back(delivery)
        else:
            await self.dispatch(delivery)  # the run has been specified anew meanwhile

    def _quarantine(self, delivery: Delivery, reason: str) -> None:
        log.error("task %s quarantined: %s", delivery.task.id, reason)
        self.events.note_quarantined(reason)
        self.on_hold.discard(delivery)
        self.settler.drop(delivery)

    def _start(self, wait: Coroutine[Any, Any, None]) -> None:
        task = self.start(wait)
        self._waits.add(task)
        task.add_done_callback(self._waits.discard)
