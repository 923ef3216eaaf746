"""Queues of ours that serve nobody, and their replacement by somebody's decision (``ttg doctor --repair``).

Others wait for such a queue, because trouble passes (see :mod:`~ttg.brokers.rabbitmq.topology`). That it does not is
known to people: the node is gone for good, or the queue was declared by another program, or with other settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ttg.brokers.base import Unserved
from ttg.brokers.rabbitmq.connection import AmqpConnection, OtherArguments, QueueDown, QueueGone
from ttg.brokers.rabbitmq.topology import Topology, declare_queue, delete_queue, inspect_queue, newest, successor

FORGET = "start the node that it is on or, if that is gone for good, `rabbitmqctl forget_cluster_node` it"


async def find_unserved(connection: AmqpConnection, topology: Topology, away: Sequence[str]) -> list[Unserved]:
    """In the order of their names in the topology. ``away``: nodes of the cluster that do not run now. A queue that is
    made meanwhile can keep them from booting (RabbitMQ 3.10), so they come first."""
    found = []
    for name, arguments in _expected(topology).items():
        is_stream = name in topology.names.streams
        current = await newest(connection, name) if is_stream else name
        try:
            await _look(connection, current, arguments)
        except QueueDown as error:
            obstacle = _start(away) or ("" if is_stream else FORGET)
            found.append(Unserved(current, str(error), None, obstacle))
        except OtherArguments as error:
            figures = await inspect_queue(connection, current)
            found.append(Unserved(current, str(error), figures[0] if figures else None, _start(away)))
    return found


async def replace(connection: AmqpConnection, topology: Topology, names: set[str], away: Sequence[str]) -> list[str]:
    """Delete and declare again those of ``names`` that still serve nobody. A stream that is down cannot be deleted and
    gets a successor, which everybody finds. Returns the names of the new ones."""
    unserved = await find_unserved(connection, topology, away)
    chosen = [queue.name for queue in unserved if queue.name in names and not queue.obstacle]
    return [await _replace(connection, topology, name) for name in chosen]


async def _replace(connection: AmqpConnection, topology: Topology, name: str) -> str:
    expected, streams = _expected(topology), topology.names.streams
    arguments = expected.get(name) or next(expected[stream] for stream in streams if name.startswith(stream))
    try:
        await delete_queue(connection, name)
    except QueueDown:
        name = successor(name)
    await declare_queue(connection, name, arguments)
    return name


def _expected(topology: Topology) -> dict[str, dict[str, Any]]:
    return topology.expected_arguments() | {topology.names.retry: topology.shared_retry_arguments()}


async def _look(connection: AmqpConnection, name: str, arguments: dict[str, Any]) -> None:
    """Raises what is wrong with a queue; nothing is wrong with one that does not exist."""
    channel = await connection.channel()
    try:
        await channel.call("queue_declare", name, passive=True)
        await channel.close()
        await declare_queue(connection, name, arguments)
    except QueueGone:
        return
    except OtherArguments as error:
        if "x-message-ttl" not in str(error):  # the delay of a retry queue is its creator's choice
            raise


def _start(away: Sequence[str]) -> str:
    return f"start {', '.join(away)} first, or `rabbitmqctl forget_cluster_node` what is gone for good" if away else ""
