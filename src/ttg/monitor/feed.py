"""Keeps a :class:`Snapshot` up to date from a broker: events as they come, queue figures once a second.

Reads only: nothing is consumed. A broker that goes away leaves the snapshot ageing until it is back; reading then goes
on where it stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from ttg.brokers.base import Broker
from ttg.clock import unix_time
from ttg.errors import BrokerError, BrokerUnavailable
from ttg.messages import AnyEvent
from ttg.monitor.snapshot import Snapshot

EVENTS_AT_ONCE = 1_000
WAIT_SECONDS = 1.0
STATS_EVERY_SECONDS = 1.0
RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)

Listener = Callable[[AnyEvent], None]


class Feed:
    """Reads ``broker`` into ``snapshot`` while :meth:`run` runs; ``listener`` hears every event that is not past."""

    def __init__(self, broker: Broker, snapshot: Snapshot, listener: Listener = lambda event: None) -> None:
        self.broker = broker
        self.snapshot = snapshot
        self.listener = listener
        self.caught_up = asyncio.Event()
        self._began = unix_time()
        self._cursor: str | None = None
        self._told = False

    async def run(self) -> None:
        """Until cancelled. Raises only what waiting cannot mend (``BrokerRefused``)."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._persist(self.read_events))
            group.create_task(self._persist(self._watch_stats))

    async def catch_up(self) -> None:
        """Read every event kept so far, and the queues once."""
        while not self.caught_up.is_set():
            await self.read_events(wait_seconds=0.0)
        await self.read_stats()

    async def read_events(self, wait_seconds: float = WAIT_SECONDS) -> None:
        """Fold the next events. Until the log is read up, they are from the past and their own time counts. It is when
        there is nothing left to read, or, while a run is under way and something is written all the time, nothing of
        before the reading began. A short page is no end: a broker may give less than it has."""
        entries = await self.broker.read_events(self._cursor, EVENTS_AT_ONCE, wait_seconds)
        heard = unix_time() if self.caught_up.is_set() else None
        for cursor, event in entries:
            self.snapshot.fold(event, heard)
            if heard is not None:
                self.listener(event)
            self._cursor = cursor
        if not entries or all(event.at >= self._began for _, event in entries):
            self.caught_up.set()
            self.snapshot.caught_up = True

    async def read_stats(self) -> None:
        """Fold the queues and the run records as they are now."""
        stats, records = await self.broker.stats(), await self.broker.list_runs()
        self.snapshot.fold_stats(stats, unix_time())
        self.snapshot.fold_records(records, unix_time())

    async def _watch_stats(self) -> None:
        await self.read_stats()
        await asyncio.sleep(STATS_EVERY_SECONDS)

    async def _persist(self, step: Callable[[], Awaitable[None]]) -> None:
        """``step`` again and again, through every outage of the broker."""
        while True:
            try:
                await step()
            except BrokerUnavailable as error:
                self._note_outage(error)
                await asyncio.sleep(RETRY_SECONDS)

    def _note_outage(self, error: BrokerError) -> None:
        if not self.snapshot.outage:
            self._told = False
        elif not self._told:  # a broker may end with its run, which is no news at the first try
            self._told = True
            log.warning("broker not reachable, figures grow old: %s", error)
        self.snapshot.fold_outage(str(error))


@asynccontextmanager
async def feeding(
    broker: Broker, snapshot: Snapshot, listener: Listener = lambda event: None
) -> AsyncIterator[asyncio.Task[None]]:
    """While open, ``broker`` (opened; closed at the end) is read into ``snapshot``; yields the task that does it."""
    task = asyncio.create_task(Feed(broker, snapshot, listener).run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, BrokerError, ExceptionGroup):
            await task
        await broker.close()
