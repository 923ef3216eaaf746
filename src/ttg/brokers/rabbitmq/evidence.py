"""Which workers were lost with a task: RabbitMQ counts how often it came back, and not why.

A task comes back when its holder dies, and just as well when a connection breaks, a node fails over, a consumer ends or
a holder gives it back. A lost worker is one that said it held the task, and then fell silent without a farewell.
Workers say so in their heartbeats, and at once when they take a task that has come back before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from ttg.brokers.rabbitmq import encoding
from ttg.brokers.rabbitmq.connection import AmqpConnection
from ttg.brokers.rabbitmq.streams import StreamReader
from ttg.clock import loop_time
from ttg.messages import AnyEvent, TasksTakenOver, WorkerHeartbeat, WorkerStopped

EVENTS_AT_ONCE = 2_000
QUIET_SECONDS = 0.1


async def find_holder(
    connection: AmqpConnection, events: str, tasks: set[str], since: float, besides: str
) -> tuple[str, float]:
    """The worker (not ``besides``) that said last, since ``since``, that it held one of ``tasks``, and when it did;
    ``("unknown", 0.0)`` if nobody did: it may have died before its first heartbeat with the task."""
    holder = ("unknown", 0.0)
    reader = await _reader(connection, events, since)
    while entries := await reader.take(EVENTS_AT_ONCE, QUIET_SECONDS):
        for _, event in encoding.read_events(entries):
            worker, held = _claim(event)
            if worker != besides and tasks.intersection(held):
                holder = (worker, event.at)
    reader.detach()
    return holder


async def lost_with(
    connection: AmqpConnection, events: str, tasks: set[str], since: float, besides: str, silent_seconds: float
) -> dict[str, int]:
    """For each of ``tasks`` how many workers (``besides`` apart) were lost with it since ``since``.

    Waits up to ``silent_seconds`` for a sign of life of those that held one; not at all when nobody did.
    """
    holders: dict[str, set[str]] = {task: set() for task in tasks}
    reader = await _reader(connection, events, since)
    try:
        await _read_past(reader, holders)
        alive = {besides}
        deadline = loop_time() + silent_seconds
        while set().union(*holders.values()) - alive and (left := deadline - loop_time()) > 0:
            for _, event in encoding.read_events(await reader.take(EVENTS_AT_ONCE, left)):
                alive.add(event.source)
    finally:
        reader.detach()
    return {task: len(held - alive) for task, held in holders.items()}


async def _read_past(reader: StreamReader, holders: dict[str, set[str]]) -> None:
    """Read what is there, noting who held what and did not take leave."""
    while entries := await reader.take(EVENTS_AT_ONCE, QUIET_SECONDS):
        for _, event in encoding.read_events(entries):
            worker, held = _claim(event)
            for task in holders.keys() & set(held):
                holders[task].add(worker)
            if isinstance(event, WorkerStopped):
                for held_by in holders.values():
                    held_by.discard(event.worker)
        await asyncio.sleep(0)


def _claim(event: AnyEvent) -> tuple[str, Iterable[str]]:
    """Who says that it holds which tasks."""
    if isinstance(event, WorkerHeartbeat):
        return event.worker, event.holding
    return (event.source, event.tasks) if isinstance(event, TasksTakenOver) else ("", ())


async def _reader(connection: AmqpConnection, events: str, since: float) -> StreamReader:
    return await StreamReader.attach_at(connection, events, datetime.fromtimestamp(since, UTC))
