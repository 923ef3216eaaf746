"""Run records: a small stream that every client folds into the newest record per run.

The order of the log is what makes compare-and-set possible without a lock: a change says which revision it has ``seen``
and counts only if that is what the log says at its place, so that everybody who reads the log agrees on who was first;
its writer reads on until it meets its own change. The stream forgets its oldest entries. Whoever starts to read in the
middle takes the first record it meets of a run for true until a later one contradicts it; and nobody remembers a record
for longer than those who begin later could know it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

from ttg.brokers.rabbitmq.connection import AmqpConnection
from ttg.brokers.rabbitmq.publisher import Outgoing, Publish
from ttg.brokers.rabbitmq.streams import StreamEntry, StreamReader, last_offset
from ttg.clock import loop_time
from ttg.errors import BrokerUnavailable, MessageError
from ttg.messages import RunRecord, decode, encode

CATCH_UP_SECONDS = 10.0
BATCH = 1_000
SPEC_AGAIN_BYTES = 2 << 20
"""After so much of the stream has passed, a record is published with its specification again, lest it be forgotten."""

FORGOTTEN_BYTES = 8 << 20
"""A record that was not changed for so long is forgotten: well before the stream, which keeps 16 MiB, drops it."""

REMOVED_KEPT = 10_000


def record_message(stream: str, seen: int, record: RunRecord, spec: bytes | None, change: str) -> Outgoing:
    """A change of a run's record: the record as JSON, and in a second line the specification, if it is published."""
    headers = {"run": record.run, "identity": record.identity, "status": str(record.status)}
    body = encode(record) if spec is None else b"%b\n%b" % (encode(record), spec)
    return Outgoing(stream, body, "run", headers | {"seen": seen, "change": change})


def removal_message(stream: str, record: RunRecord, *, always: bool) -> Outgoing:
    """The message that makes everybody forget a run, ``always`` or only as it was seen; workers then drop its tasks."""
    headers = {"run": record.run, "identity": record.identity, "status": "removed"}
    return Outgoing(stream, b"", "run", headers if always else headers | {"seen": record.revision})


@dataclass(slots=True)
class _Known:
    """What is known of a run: its record, or that there is none; whether that is ``certain``, because the log was seen
    to lead up to it; and how much of the log had been read then, in bytes."""

    record: RunRecord | None
    certain: bool
    at: int

    @property
    def revision(self) -> int:
        """Of the record; 0 if there is none."""
        return self.record.revision if self.record else 0

    @property
    def identity(self) -> str | None:
        """Of the record."""
        return self.record.identity if self.record else None


class RunLog:
    """What the stream has said so far. Pure but for its reader; usable as long as that is."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._known: dict[str, _Known] = {}
        self._specs: dict[str, tuple[bytes, int]] = {}
        self._removed: dict[str, None] = {}
        self._counted: dict[str, bool] = {}
        self._awaited: set[str] = set()
        self._offset, self._bytes = -1, 0
        self._from_beginning = True
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
        return {run: known.record for run, known in self._known.items() if known.record is not None}

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
            if self._offset < 0:
                self._from_beginning = entry.offset == 0
            self._offset = entry.offset
            self._bytes += len(entry.body)
            self._forget_old()
            counts = self._apply(entry)
            change = str(entry.headers.get("change"))
            if change in self._awaited:
                self._counted[change] = counts

    def _forget_old(self) -> None:
        """Everybody forgets a record at the same place of the log, before the stream does for those who come later."""
        while self._known:
            run, known = next(iter(self._known.items()))
            if self._bytes - known.at <= FORGOTTEN_BYTES:
                return
            del self._known[run]

    def _of(self, run: str) -> _Known:
        """What is known of a run: nothing at all only near where one began to read in the middle."""
        complete = self._from_beginning or self._bytes > FORGOTTEN_BYTES
        return self._known.get(run) or _Known(None, certain=complete, at=0)

    def _apply(self, entry: StreamEntry) -> bool:
        run, seen = str(entry.headers.get("run")), entry.headers.get("seen")
        known = self._of(run)
        if entry.headers.get("status") == "removed":
            after = self._removed_from(known, str(entry.headers.get("identity", "")), seen)
        else:
            after = self._changed_from(known, entry.body, seen or 0)
        if after is not None:
            self._known.pop(run, None)  # the order is that of the changes, for those that are forgotten
            self._known[run] = after
        return after is not None

    def _changed_from(self, known: _Known, body: bytes, seen: int) -> _Known | None:
        """What is known after a change; ``None`` if it does not count."""
        if known.certain and seen != known.revision:
            return None
        head, _, spec = body.partition(b"\n")
        try:
            record: RunRecord = decode(head, RunRecord)
        except MessageError:
            return None
        self._removed.pop(record.identity, None)
        self._keep_spec(record, spec)
        return _Known(record, certain=seen == known.revision, at=self._bytes)

    def _removed_from(self, known: _Known, identity: str, seen: int | None) -> _Known | None:
        """What is known after a removal; ``None`` if it does not count. ``seen`` ``None``: whatever the record is."""
        is_another = known.record is not None and known.identity != identity
        if seen is not None and (is_another or (known.certain and seen != known.revision)):
            return None
        self._removed[identity] = None
        if len(self._removed) > REMOVED_KEPT:
            del self._removed[next(iter(self._removed))]
        self._specs.pop(identity, None)
        if is_another:
            return None
        return _Known(None, certain=seen in (None, known.revision), at=self._bytes)

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

    async def forget(self, record: RunRecord, *, always: bool) -> None:
        """Let everybody forget a run, ``always`` or only if its record has not changed."""
        self._own_specs.pop(record.identity, None)
        await self._publish([removal_message(self._stream(), record, always=always)])
