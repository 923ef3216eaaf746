"""From the results log to durable parts: dedup by index, buffer, write in a thread, commit, let the broker trim."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from functools import partial

from ttg.backoff import Backoff
from ttg.brokers.base import Broker, ResultMessage
from ttg.clock import loop_time
from ttg.errors import BrokerError, MessageError
from ttg.messages import ResultHeader
from ttg.results.collector import Collector

log = logging.getLogger("ttg.run")

MAX_BUFFERED_BYTES = 16 << 20


class ResultConsumer:
    """The collecting side of one run. ``cursor`` is the newest message taken in; ``None`` reads the log from its start.
    ``kept_bytes`` is what of the collected results is left in the broker, of the ``keep_result_bytes`` that may be.

    What is buffered here is still in the broker, so losing this object loses nothing.
    """

    def __init__(
        self, collector: Collector, broker: Broker, identity: str, keep_result_bytes: int, backoff: Backoff
    ) -> None:
        self.collector = collector
        self.cursor: str | None = None
        self._broker = broker
        self._identity = identity
        self.kept_bytes = 0
        self.keep_result_bytes = keep_result_bytes
        self._backoff = backoff
        self._writing: asyncio.Task[None] | None = None
        self._collected_up_to = ""
        self.up_to_date_at = 0.0
        """Everything that was in the log at this moment (on the event loop's clock) has been read."""

    async def read(self, limit: int, wait_seconds: float) -> list[ResultMessage]:
        """The next messages of this run."""
        began = loop_time()
        messages = await self._broker.read_results(self.cursor, limit, wait_seconds, self._identity)
        if not messages:
            self.up_to_date_at = began
        return messages

    def ingest(self, messages: Sequence[ResultMessage]) -> Iterator[ResultHeader]:
        """Buffer what is new; yields the header of each message that fits this run."""
        for message in messages:
            self.cursor = message.cursor
            try:
                self.collector.add(message)
            except MessageError as error:
                log.warning("a result does not fit this run and is ignored: %s", error)
                continue
            yield message.header

    async def write_when_due(self) -> None:
        """Start writing a part when it is time. Waits only when the disk cannot keep up with the results."""
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if not self.collector.due(loop_time()):
            return
        if self._writing is not None:
            if self.collector.buffered_bytes < MAX_BUFFERED_BYTES:
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
        batch = self.collector.take()
        if batch is not None:
            written = await self._backoff.call(partial(asyncio.to_thread, self.collector.write, batch))
            self.collector.commit(written)
            self._collected_up_to = written.cursor
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
