"""From the results log to durable parts: dedup by index, buffer, write in a thread, commit, let the broker trim."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import partial

import msgspec

from ttg.backoff import Backoff
from ttg.brokers.base import Broker, ResultMessage
from ttg.clock import loop_time
from ttg.errors import BrokerError, MessageError, StorageError
from ttg.messages import Ranges, ResultHeader
from ttg.run.ends import Sink
from ttg.run.stored_results import StoredResults
from ttg.spec import RunSpec

log = logging.getLogger("ttg.run")

MAX_BUFFERED_BYTES = 16 << 20


class ResultConsumer:
    """The collecting side of one run. ``cursor`` is the newest message taken in; ``None`` reads the log from its start.
    ``kept_bytes`` is what of the collected results is left in the broker, of the ``keep_result_bytes`` that may be.

    What is buffered here is still in the broker, so losing this object loses nothing.
    """

    def __init__(self, sink: Sink, broker: Broker, spec: RunSpec, keep_result_bytes: int, backoff: Backoff) -> None:
        self.sink = sink
        self.cursor: str | None = None
        self._broker = broker
        self._identity = spec.identity
        self._stored = StoredResults(spec.store, sink.lacking, sink.inputs)
        self._ahead: list[ResultMessage] = []
        self.unread: list[Ranges] = []
        """What was settled with rows that cannot be had: it is to be submitted again."""
        self.kept_bytes = 0
        self.keep_result_bytes = keep_result_bytes
        self._backoff = backoff
        self._writing: asyncio.Task[None] | None = None
        self._collected_up_to = ""
        self.up_to_date_at = 0.0
        """Everything that was in the log at this moment (on the event loop's clock) has been read."""

    def start_over(self) -> None:
        """The log is another one: read it from its start."""
        self.cursor, self._ahead = None, []

    async def read(self, limit: int, wait_seconds: float) -> list[ResultMessage]:
        """The next messages of this run: as many as may be buffered at once, or a single one."""
        began, ahead = loop_time(), self._ahead
        if not ahead:
            ahead += await self._broker.read_results(self.cursor, limit, wait_seconds, self._identity)
            if not ahead:
                self.up_to_date_at = began
        messages = await self._stored.fetch(_page(ahead))
        if ahead is not self._ahead:
            return []  # of a log that is gone
        del ahead[: len(messages)]
        return messages

    async def rest(self, limit: int) -> AsyncIterator[list[ResultMessage]]:
        """What the log has now, as far as broker and store give it."""
        try:
            while messages := await self.read(limit, 0.0):
                yield messages
        except (BrokerError, StorageError) as error:
            log.warning("results stay where they are, resume will collect them: %s", error)

    def ingest(self, messages: Sequence[ResultMessage]) -> Iterator[ResultHeader]:
        """Buffer what is new; yields the header of each message that fits this run."""
        for message in messages:
            self.cursor = message.cursor
            self._stored.collected(message)
            try:
                self.sink.add(self._readable(message))
            except MessageError as error:
                log.warning("a result does not fit this run and is ignored: %s", error)
                continue
            yield message.header

    def _readable(self, message: ResultMessage) -> ResultMessage:
        """The message, without rows if those are in the store and were not to be had, or not needed."""
        header = message.header
        if not header.stored or message.payload:
            return message
        if lacking := self.sink.lacking(header.ranges):
            self.unread.append(lacking)
        return replace(message, header=msgspec.structs.replace(header, ranges=()))

    async def write_when_due(self) -> None:
        """Start writing a part when it is time. Waits only when the disk cannot keep up with the results."""
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if not self.sink.due(loop_time()):
            return
        if self._writing is not None:
            if self.sink.buffered_bytes < MAX_BUFFERED_BYTES:
                return
            await self._writing
        self._writing = asyncio.create_task(self._write())

    async def flush(self) -> None:
        """Everything taken in so far is on disk when this returns."""
        if self._writing is not None:
            await self._writing
            self._writing = None
        await self._write()

    async def _write(self) -> None:
        batch, names = self.sink.take(), self._stored.take()
        if batch is not None:
            written = await self._backoff.call(partial(asyncio.to_thread, self.sink.write, batch))
            self.sink.commit(written)
            self._collected_up_to = written.cursor
        await self._stored.remove(names)
        await self._trim()

    async def _trim(self) -> None:
        """Let the broker drop what is on disk here, but for the newest ``keep_result_bytes``."""
        if not self._collected_up_to:
            return
        try:
            self.kept_bytes = await self._broker.trim_results(
                self._identity, self._collected_up_to, self.keep_result_bytes
            )
        except BrokerError as error:
            log.debug("collected results stay in the broker for now: %s", error)


def _page(messages: Sequence[ResultMessage]) -> list[ResultMessage]:
    """The first of them, as far as what they have in the store is not too much at once."""
    size = 0
    for count, message in enumerate(messages):
        size += message.header.stored.size if message.header.stored else 0
        if count and size > MAX_BUFFERED_BYTES:
            return list(messages[:count])
    return list(messages)
