"""Run records: a small stream, of which each client keeps the newest record per run."""

from __future__ import annotations

import asyncio

from ttg.brokers.rabbitmq.connection import Connection
from ttg.brokers.rabbitmq.publisher import Outgoing
from ttg.brokers.rabbitmq.streams import Entry, StreamReader
from ttg.clock import loop_time
from ttg.errors import MessageError
from ttg.messages import RunRecord, decode, encode

CATCH_UP_SECONDS = 5.0
BATCH = 1_000


def record_message(queue: str, record: RunRecord) -> Outgoing:
    """A run's record as a message."""
    return Outgoing(queue, encode(record), "run", {"run": record.run, "state": record.state})


def removal_message(queue: str, run: str) -> Outgoing:
    """The message that makes everybody forget ``run``; workers then drop its tasks."""
    return Outgoing(queue, b"{}", "run", {"run": run, "state": "removed"})


class RunRecords:
    """What the stream said so far. Attached to one channel; usable as long as that is."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._records: dict[str, RunRecord] = {}
        self._removed: set[str] = set()
        self._seen = -1
        self._reading = asyncio.Lock()

    @classmethod
    async def attach(cls, connection: Connection, stream: str) -> RunRecords:
        """The records of ``stream``, from its beginning."""
        return cls(await StreamReader.attach(connection, stream, None))

    @property
    def usable(self) -> bool:
        """Whether the channel is open."""
        return self._reader.usable

    def is_removed(self, run: str) -> bool:
        """Whether somebody removed ``run``, as far as we have heard."""
        self._fold(self._reader.arrived(BATCH))
        return run in self._removed

    async def catch_up(self, offset: int) -> dict[str, RunRecord]:
        """The newest record of each run, after the entry at ``offset`` was read."""
        deadline = loop_time() + CATCH_UP_SECONDS
        async with self._reading:
            while True:
                wait_seconds = deadline - loop_time() if self._seen < offset else 0.0
                entries = await self._reader.take(BATCH, wait_seconds)
                self._fold(entries)
                if not entries and (self._seen >= offset or loop_time() >= deadline):
                    return self._records

    def _fold(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._seen = entry.offset
            run = str(entry.headers.get("run"))
            self._records.pop(run, None)
            self._removed.discard(run)
            if entry.headers.get("state") == "removed":
                self._removed.add(run)
                continue
            try:
                self._records[run] = decode(entry.body, RunRecord)
            except MessageError:
                continue
