"""Who held a task that RabbitMQ delivers again: it does not say, but the workers' heartbeats do."""

from __future__ import annotations

from datetime import UTC, datetime

from ttg.brokers.rabbitmq import encoding
from ttg.brokers.rabbitmq.connection import AmqpConnection
from ttg.brokers.rabbitmq.streams import StreamReader
from ttg.messages import WorkerHeartbeat

EVENTS_AT_ONCE = 2_000
QUIET_SECONDS = 0.1


async def find_holder(
    connection: AmqpConnection, events: str, tasks: set[str], since: float, besides: str
) -> tuple[str, float]:
    """The worker (not ``besides``) whose heartbeat since ``since`` last named one of ``tasks``, and when it did.

    ``("unknown", 0.0)`` if none did: a worker may die before its first heartbeat with the task.
    """
    reader = await StreamReader.attach_at(connection, events, datetime.fromtimestamp(since, UTC))
    holder = ("unknown", 0.0)
    while entries := await reader.take(EVENTS_AT_ONCE, QUIET_SECONDS):
        for _, event in encoding.read_events(entries):
            if isinstance(event, WorkerHeartbeat) and event.worker != besides and tasks & set(event.holding):
                holder = (event.worker, event.at)
    reader.detach()
    return holder
