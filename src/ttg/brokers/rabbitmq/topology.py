"""Names and arguments of our queues, and declaring them.

===================== ======== =========================================================================
``<ns>.tasks``        work     quorum (or classic); consumed with acknowledgements: the channel is the lease
``<ns>.tasks.retry``  delay    one fixed time to live, then back to ``<ns>.tasks``; never consumed
``<ns>.tasks.held.…`` held     what one client holds for long; see :mod:`~ttg.brokers.rabbitmq.renewal`
``<ns>.tasks.dlq``    letters  dead letters as JSON, the newest ones; looked through by one client at a time
``<ns>.results``      stream   one message per settled task: header as JSON, newline, Arrow payload; kept for a day
``<ns>.events``       stream   one message per event, JSON
``<ns>.runs``         stream   one message per change of a run's record, JSON; see :mod:`~ttg.brokers.rabbitmq.run_log`
===================== ======== =========================================================================

When a node is killed within half a second of creating its very first queues, RabbitMQ 3.10 forgets who was to look
after them: a stream is refused for ever (to serve, to declare, to delete), a quorum queue takes messages and confirms
none. Only where the broker is a single node (``?nodes=1`` in its URL) such a queue is replaced, a stream by
``<name>.2`` and so on; everybody uses the newest that exists. In a cluster it is a sign of trouble that passes, and a
queue that is made meanwhile, without a quorum of nodes, can keep them from booting.

A run whose retry delay is not that of ``<ns>.tasks.retry`` (which is decided by whoever created it) uses
``<ns>.tasks.retry.<milliseconds>``: messages of different delays in one queue would wait for each other.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ttg.brokers.base import LETTERS_KEPT, LETTERS_KEPT_SECONDS, BrokerConfig
from ttg.brokers.rabbitmq.connection import (
    AmqpConnection,
    Channel,
    OtherArguments,
    QueueDown,
    QueueGone,
    is_single_node,
)
from ttg.brokers.rabbitmq.streams import stream_length
from ttg.clock import loop_time
from ttg.errors import BrokerRefused, BrokerUnavailable

DELIVERY_LIMIT = 1_000_000  # a backstop only: attempts are counted in our own messages, which blame no bystander
RESULTS_KEPT_BYTES = 2 * 2**30
RESULTS_KEPT = "1D"
RESULTS_SEGMENT_BYTES = 64 * 2**20
LARGE_BYTES = 64 << 10
EVENT_BYTES = 400  # a typical event, to turn a number of events into a size
RUNS_KEPT_BYTES = 16 * 2**20
LONGEST_DOWN_SECONDS = 8.0  # streams come back within a second after a restart, or never
DOWN_POLL_SECONDS = 0.2
HELD_READY_SECONDS = 3.0  # how long a copy may wait for its holder: less than the coordinator believes in a silent one
HELD_QUEUE_KEPT_SECONDS = 600.0  # after its last consumer; what is in it has left long before

log = logging.getLogger("ttg.broker")


Lengths = dict[str, tuple[int, int]]
"""Queue name: (ready messages, consumers)."""


@dataclass(slots=True)
class Names:
    """Our queues' names in one namespace; the streams' may get a successor."""

    tasks: str
    retry: str
    dlq: str
    results: str
    events: str
    runs: str

    @classmethod
    def within(cls, namespace: str) -> Names:
        """The names in ``namespace``."""
        suffixes = ("tasks", "tasks.retry", "tasks.dlq", "results", "events", "runs")
        return cls(*(f"{namespace}.{suffix}" for suffix in suffixes))

    def held(self, client: str) -> str:
        """The queue of what ``client`` holds for long."""
        return f"{self.tasks}.held.{client}"

    @property
    def streams(self) -> tuple[str, str, str]:
        return (self.results, self.events, self.runs)


class Topology:
    """Declares our queues, and knows which retry queue has which delay. ``is_single_node``: a queue that serves nobody
    may be replaced."""

    def __init__(self, config: BrokerConfig) -> None:
        self.names = Names.within(config.namespace)
        self.is_single_node = is_single_node(config)
        self._config = config
        self._retry_queues: dict[int, str] = {}
        self._with_large_entries: set[str] = set()

    @property
    def retry_queues(self) -> tuple[str, ...]:
        """The retry queues this process knows, the shared one first."""
        return tuple(dict.fromkeys((self.names.retry, *self._retry_queues.values())))

    @property
    def all_queues(self) -> tuple[str, ...]:
        """Every queue of ours, in the order of :class:`~ttg.brokers.base.BrokerStats`, the runs last."""
        names = self.names
        return (names.tasks, *self.retry_queues, names.dlq, names.results, names.events, names.runs)

    def expected_arguments(self) -> dict[str, dict[str, Any]]:
        """What each of our queues is declared with; the retry queues apart, whose delay their creator chose."""
        names, segment = self.names, max(self._config.events_kept * EVENT_BYTES // 4, 64 * 2**10)
        return {
            names.tasks: self._work_queue(),
            names.dlq: self._work_queue() | _bounded(LETTERS_KEPT, LETTERS_KEPT_SECONDS),
            names.results: _stream(RESULTS_KEPT_BYTES, RESULTS_SEGMENT_BYTES) | {"x-max-age": RESULTS_KEPT},
            names.events: _stream(4 * segment, segment),
            names.runs: _stream(RUNS_KEPT_BYTES, RUNS_KEPT_BYTES // 8),
        }

    def shared_retry_arguments(self) -> dict[str, Any]:
        """What the shared retry queue is declared with by a client of this configuration."""
        return self._delay_queue(self._config.retry_delay_ms)

    async def check(self, connection: AmqpConnection) -> list[str]:
        """The names of those of our queues that exist. ``BrokerRefused`` when one has other arguments: then it may be
        somebody else's. Declaring an existing queue again with its own arguments changes nothing."""
        existing = []
        for name, arguments in self.expected_arguments().items():
            if await inspect_queue(connection, name) is not None:
                await self._declare(connection, name, arguments)
                existing.append(name)
        return existing

    async def declare(self, connection: AmqpConnection) -> None:
        """Create what is missing. ``BrokerRefused`` when a queue exists with other arguments."""
        names, arguments = self.names, self.expected_arguments()
        await self._declare(connection, names.tasks, arguments[names.tasks])
        await self._declare(connection, names.dlq, arguments[names.dlq])
        names.results, names.events, names.runs = await asyncio.gather(
            *(self._declare_stream(connection, name, arguments[name]) for name in names.streams)
        )
        others = [delay_ms for delay_ms, name in self._retry_queues.items() if name != names.retry]
        self._retry_queues.clear()
        await self._declare_shared_retry(connection)
        for delay_ms in others:
            await self.retry_queue(connection, delay_ms)

    async def declare_retrying(self, connect: Callable[[], Awaitable[AmqpConnection]]) -> AmqpConnection:
        """As :meth:`declare`; returns the connection. RabbitMQ ends a connection that asks for a stream whose creation
        by somebody else has only just begun: a moment later all is well."""
        deadline = loop_time() + LONGEST_DOWN_SECONDS
        while True:
            connection = await connect()
            try:
                await self.declare(connection)
                return connection
            except BrokerUnavailable as error:
                if "Stream not found" not in str(error) or loop_time() > deadline:
                    raise
            await asyncio.sleep(DOWN_POLL_SECONDS)

    async def retry_queue(self, connection: AmqpConnection, delay_ms: int) -> str:
        """The queue from which tasks come back after ``delay_ms``; created when it is the first of its delay."""
        if delay_ms <= 0:
            return self.names.tasks
        if delay_ms not in self._retry_queues:
            name = f"{self.names.retry}.{delay_ms}"
            await self._declare(connection, name, self._delay_queue(delay_ms))
            self._retry_queues[delay_ms] = name
        return self._retry_queues[delay_ms]

    async def declare_held(self, connection: AmqpConnection, name: str) -> None:
        """Create a queue of tasks that its holder has for long, if it is not there."""
        arguments = self._delay_queue(int(1000 * HELD_READY_SECONDS))
        await self._declare(connection, name, arguments | {"x-expires": int(1000 * HELD_QUEUE_KEPT_SECONDS)})

    async def follow(self, connection: AmqpConnection) -> bool:
        """Use the successors that our streams got by somebody's decision; whether there are new ones."""
        names, before = self.names, self.names.streams
        names.results, names.events, names.runs = [await newest(connection, name) for name in before]
        return names.streams != before

    def known_retry_queue(self, delay_ms: int) -> str | None:
        """The retry queue of this delay, if it needs no declaring."""
        return self._retry_queues.get(delay_ms)

    async def adopt(self, connection: AmqpConnection, delay_ms: int) -> None:
        """Know the retry queue of ``delay_ms`` if it exists."""
        name = f"{self.names.retry}.{delay_ms}"
        if delay_ms not in self._retry_queues and await inspect_queue(connection, name) is not None:
            self._retry_queues[delay_ms] = name

    async def work_lengths(self, connection: AmqpConnection, others: Iterable[str] = ()) -> Lengths:
        """Ready messages and consumers of each work queue of ours that exists, and of ``others``."""
        names = [*(name for name in self.all_queues if name not in self.names.streams), *others]
        found = await asyncio.gather(*(inspect_queue(connection, name) for name in names))
        return {name: figures for name, figures in zip(names, found, strict=True) if figures is not None}

    async def stream_lengths(self, connection: AmqpConnection) -> Lengths:
        """Entries of each of our streams, 0 if it does not exist."""
        found = await asyncio.gather(*(self._stream_figures(connection, name) for name in self.names.streams))
        return dict(zip(self.names.streams, found, strict=True))

    async def _stream_figures(self, connection: AmqpConnection, name: str) -> tuple[int, int]:
        """Entries and consumers. The broker's own count of entries is seconds late, so they are looked at, unless that
        was found to mean fetching large ones."""
        counted = await inspect_queue(connection, name)
        if counted is None or name in self._with_large_entries:
            return counted or (0, 0)
        length, newest_bytes = await stream_length(connection, name)
        if newest_bytes > LARGE_BYTES:
            self._with_large_entries.add(name)
        return length, counted[1]

    async def _declare_shared_retry(self, connection: AmqpConnection) -> None:
        delay_ms = self._config.retry_delay_ms
        try:
            await declare_queue(connection, self.names.retry, self._delay_queue(delay_ms))
        except OtherArguments as error:
            existing = re.search(r"'x-message-ttl' .*current is (?:the value )?'(\d+)'", str(error))
            if not existing:
                raise _refused(self.names.retry, error) from error
            delay_ms = int(existing[1])
        self._retry_queues[delay_ms] = self.names.retry

    async def _declare_stream(self, connection: AmqpConnection, name: str, arguments: dict[str, Any]) -> str:
        """Declare a stream, or find its newest successor; returns the name to use."""
        name = await newest(connection, name)
        deadline = loop_time() + LONGEST_DOWN_SECONDS
        while True:
            try:
                await self._declare(connection, name, arguments)
                return name
            except QueueDown as error:
                if not self.is_single_node:
                    raise
                if loop_time() > deadline:
                    log.warning("%s: going on with %s", error, successor(name))
                    name = successor(name)
            await asyncio.sleep(DOWN_POLL_SECONDS)

    async def _declare(self, connection: AmqpConnection, name: str, arguments: dict[str, Any]) -> None:
        try:
            await declare_queue(connection, name, arguments)
        except OtherArguments as error:
            raise _refused(name, error) from error

    def _work_queue(self) -> dict[str, Any]:
        if self._config.queue_type == "classic":
            return {"x-queue-type": "classic"}
        return {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}

    def _delay_queue(self, delay_ms: int) -> dict[str, Any]:
        arguments = {
            "x-queue-type": self._config.queue_type,
            "x-message-ttl": delay_ms,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.names.tasks,
        }
        if self._config.queue_type == "quorum":
            arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        return arguments


async def newest(connection: AmqpConnection, name: str) -> str:
    """The last successor of a stream that exists, or its own name."""
    while await inspect_queue(connection, successor(name)) is not None:
        name = successor(name)
    return name


def successor(name: str) -> str:
    """What takes the place of a stream that nobody can delete."""
    stem, _, number = name.rpartition(".")
    return f"{stem}.{int(number) + 1}" if number.isdecimal() else f"{name}.2"


def _bounded(messages: int, seconds: float) -> dict[str, Any]:
    """The oldest leave when there are too many, and each after some time."""
    return {"x-max-length": messages, "x-overflow": "drop-head", "x-message-ttl": int(1000 * seconds)}


def _stream(kept_bytes: int, segment_bytes: int) -> dict[str, Any]:
    return {
        "x-queue-type": "stream",
        "x-max-length-bytes": kept_bytes,
        "x-stream-max-segment-size-bytes": segment_bytes,
    }


async def declare_queue(connection: AmqpConnection, name: str, arguments: dict[str, Any]) -> None:
    """Create a queue, or see that it is what ``arguments`` say: ``OtherArguments`` if not."""
    channel: Channel = await connection.channel()
    await channel.call("queue_declare", name, durable=True, arguments=arguments)
    await channel.close()


async def inspect_queue(connection: AmqpConnection, name: str) -> tuple[int, int] | None:
    """Ready messages and consumers of a queue; ``None`` if it does not exist, or nobody serves it."""
    channel = await connection.channel()
    try:
        answer = await channel.call("queue_declare", name, passive=True)
    except (QueueGone, QueueDown):
        return None
    await channel.close()
    return answer.method.message_count, answer.method.consumer_count


async def delete_queue(connection: AmqpConnection, name: str) -> None:
    """Delete a queue of ours, with what is in it; one that does not exist is fine."""
    channel = await connection.channel()
    await channel.call("queue_delete", name)
    await channel.close()


def _refused(name: str, error: OtherArguments) -> BrokerRefused:
    return BrokerRefused(
        f"queue {name} exists with other arguments than TTG would give it ({error}): "
        "empty and delete it, or set TTG_NAMESPACE to another prefix or RABBITMQ_QUEUE_TYPE to its type"
    )
