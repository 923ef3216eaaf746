"""Run records: a small stream that every client folds into the newest record per run.

The order of the log is what makes compare-and-set possible without a lock: a change says which revision it has ``seen``
and counts only if that is what the log says at its place, so that everybody who reads the log agrees on who was first;
its writer reads on until it meets its own change. The stream forgets its oldest entries. Whoever starts to read in the
middle takes the first record it meets of a run for true until a later one contradicts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

from ttg.brokers.rabbitmq.connection import AmqpConnection
from ttg.brokers.rabbitmq.publisher import Outgoing
from ttg.brokers.rabbitmq.streams import StreamEntry, StreamReader, last_offset
from ttg.clock import loop_time
from ttg.errors import BrokerUnavailable, MessageError
from ttg.messages import RunRecord, decode, encode

CATCH_UP_SECONDS = 10.0
BATCH = 1_000
SPEC_AGAIN_BYTES = 2 << 20
"""After so much of the stream has passed, a record is published with its specification again, lest it be forgotten."""


def record_message(stream: str, seen: int, record: RunRecord, spec: bytes | None, change: str) -> Outgoing:
    """A change of a run's record: the record as JSON, and in a second line the specification, if it is published."""
    headers = {"run": record.run, "identity": record.identity, "status": str(record.status)}
    body = encode(record) if spec is None else b"%b\n%b" % (encode(record), spec)
    return Outgoing(stream, body, "run", headers | {"seen": seen, "change": change})


def removal_message(stream: str, record: RunRecord) -> Outgoing:
    """The message that makes everybody forget a run; workers then drop its tasks."""
    return Outgoing(stream, b"", "run", {"run": record.run, "identity": record.identity, "status": "removed"})


@dataclass(slots=True)
class _Known:
    """A record, and whether the log was seen to lead up to it."""

    record: RunRecord
    certain: bool


class RunLog:
    """What the stream has said so far. Pure but for its reader; usable as long as that is."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._known: dict[str, _Known] = {}
        self._specs: dict[str, tuple[bytes, int]] = {}
        self._removed: set[str] = set()
        self._counted: dict[str, bool] = {}
        self._awaited: set[str] = set()
        self._offset, self._bytes = -1, 0
        self._reading = asyncio.Lock()

    @classmethod
    async def attach(cls, connection: AmqpConnection, stream: str) -> RunLog:
        """The log of ``stream``, read from its beginning to its present end."""
        newest = await last_offset(connection, stream)
        log = cls(await StreamReader.attach(connection, stream, None))
        await log.read_until(lambda: log._offset >= newest)
        return log

    @property
    def usable(self) -> bool:
        """Whether the channel is open."""
        return self._reader.usable

    @property
    def records(self) -> dict[str, RunRecord]:
        """The newest record of each run, as far as it has arrived."""
        self._fold(self._reader.arrived(BATCH))
        return {run: known.record for run, known in self._known.items()}

    def is_removed(self, identity: str) -> bool:
        """Whether somebody removed this run, as far as we have heard."""
        self._fold(self._reader.arrived(BATCH))
        return identity in self._removed

    def spec(self, identity: str) -> bytes | None:
        """The specification of a run."""
        return self._specs.get(identity, (None, 0))[0]

    def spec_is_old(self, identity: str) -> bool:
        """Whether so much has been said since that its specification may soon be forgotten."""
        return self._bytes - self._specs.get(identity, (b"", 0))[1] > SPEC_AGAIN_BYTES

    def expect(self, change: str) -> None:
        """From now on it is remembered whether this change counted."""
        self._awaited.add(change)

    async def counted(self, change: str) -> bool:
        """Whether an expected change, which was published, counted."""
        try:
            await self.read_until(lambda: change in self._counted)
            return self._counted.pop(change)
        finally:
            self._awaited.discard(change)

    async def read_until(self, is_enough: Callable[[], bool]) -> None:
        """Read on until ``is_enough``; ``BrokerUnavailable`` when that does not come about."""
        deadline = loop_time() + CATCH_UP_SECONDS
        async with self._reading:
            while True:
                self._fold(self._reader.arrived(BATCH))
                if is_enough():
                    return
                if loop_time() > deadline:
                    self._reader.detach()
                    raise BrokerUnavailable(f"RabbitMQ did not deliver the records of runs in {CATCH_UP_SECONDS:g} s")
                self._fold(await self._reader.take(BATCH, 1.0))

    async def catch_up(self, offset: int) -> None:
        """Read on until the entry at ``offset``."""
        await self.read_until(lambda: self._offset >= offset)

    # -- folding

    def _fold(self, entries: list[StreamEntry]) -> None:
        for entry in entries:
            self._offset = entry.offset
            self._bytes += len(entry.body)
            counts = self._apply(entry)
            change = str(entry.headers.get("change"))
            if change in self._awaited:
                self._counted[change] = counts

    def _apply(self, entry: StreamEntry) -> bool:
        run, identity = str(entry.headers.get("run")), str(entry.headers.get("identity", ""))
        known = self._known.get(run)
        if entry.headers.get("status") == "removed":
            return self._remove(run, identity)
        seen, present = entry.headers.get("seen", 0), known.record.revision if known else 0
        if seen != present and known and known.certain:
            return False
        head, _, spec = entry.body.partition(b"\n")
        try:
            record: RunRecord = decode(head, RunRecord)
        except MessageError:
            return False
        self._known[run] = _Known(record, certain=seen == present)
        self._removed.discard(identity)
        self._keep_spec(record, spec)
        return True

    def _remove(self, run: str, identity: str) -> bool:
        self._removed.add(identity)
        self._specs.pop(identity, None)
        known = self._known.get(run)
        if known is None or known.record.identity != identity:
            return False
        del self._known[run]
        return True

    def _keep_spec(self, record: RunRecord, spec: bytes) -> None:
        if not record.is_active:
            self._specs.pop(record.identity, None)
        elif spec:
            self._specs[record.identity] = (spec, self._bytes)


class RunRegistry:
    """The run verbs of the contract over a :class:`RunLog`, which is attached again when its channel is lost."""

    def __init__(
        self, stream: Callable[[], str], connect: Callable[[], Awaitable[AmqpConnection]], publish: Publish
    ) -> None:
        self._stream = stream
        self._connect = connect
        self._publish = publish
        self._log: RunLog | None = None
        self._attaching = asyncio.Lock()
        self._own_specs: dict[str, bytes] = {}

    async def log(self) -> RunLog:
        """The log, attached."""
        async with self._attaching:
            if self._log is None or not self._log.usable:
                self._log = await RunLog.attach(await self._connect(), self._stream())
            return self._log

    def detach(self) -> None:
        """Forget the log: its connection is closed."""
        self._log = None

    def is_removed(self, identity: str) -> bool:
        """Whether somebody removed this run, as far as we have heard."""
        return self._log is not None and self._log.is_removed(identity)

    async def records(self, *, fresh: bool = False) -> dict[str, RunRecord]:
        """The newest record of each run; if ``fresh``, with everything that was published before."""
        log = await self.log()
        if fresh:
            await log.catch_up(await last_offset(await self._connect(), self._stream()))
        return log.records

    async def spec(self, record: RunRecord) -> bytes | None:
        """The specification of a run."""
        return (await self.log()).spec(record.identity)

    async def swap(self, old: RunRecord | None, new: RunRecord, spec: bytes | None) -> bool:
        """Publish a change, and see whether it counted."""
        if spec is not None:
            self._own_specs[new.identity] = spec
        log, change = await self.log(), uuid4().hex
        if log.spec_is_old(new.identity):
            spec = self._own_specs.get(new.identity)
        log.expect(change)
        await self._publish([record_message(self._stream(), old.revision if old else 0, new, spec, change)])
        return await log.counted(change)

    async def forget(self, record: RunRecord) -> None:
        """Let everybody forget a run."""
        self._own_specs.pop(record.identity, None)
        await self._publish([removal_message(self._stream(), record)])


Publish = Callable[[list[Outgoing]], Awaitable[None]]
