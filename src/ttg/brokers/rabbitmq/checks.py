"""What ``ttg doctor`` says about a RabbitMQ broker. Nothing that lasts is changed."""

from __future__ import annotations

import asyncio
import os
import urllib.error
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Credentials, Login
from ttg.brokers.rabbitmq.connection import NO_STREAMS, STREAMS_ADVICE, AmqpConnection
from ttg.brokers.rabbitmq.management import ask, endpoint
from ttg.brokers.rabbitmq.topology import Topology
from ttg.errors import BrokerError, BrokerRefused

Finding = tuple[str, str, str, str]

OLDEST_VERSION = (3, 10)
GIB = 1 << 30


async def diagnose(
    config: BrokerConfig,
    topology: Topology,
    connect: Callable[[], Awaitable[AmqpConnection]],
    credentials: Credentials,
) -> list[Finding]:
    """Findings ``(level, subject, text, advice)``. Raises ``BrokerError`` when the broker lets nobody in."""
    connection = await connect()
    return [
        _version(connection.server_version),
        await _queues(connection, topology),
        await _permissions(connection, config.namespace),
        await _streams(connection, config.namespace),
        *await asyncio.to_thread(_nodes, config, await credentials.current()),
        _acknowledgements(),
    ]


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers >= OLDEST_VERSION:
        return "good", "version", f"RabbitMQ {version}", ""
    return "problem", "version", f"RabbitMQ {version} has no stream queues", "upgrade to RabbitMQ 3.10 or newer, or 4.x"


async def _queues(connection: AmqpConnection, topology: Topology) -> Finding:
    try:
        existing = await topology.check(connection)
    except BrokerRefused as error:
        text, _, advice = str(error).rpartition(": ")
        return "problem", "queues", text, advice
    except BrokerError as error:
        return "problem", "queues", str(error), "look at this queue in the management UI"
    return (
        "good",
        "queues",
        f"{len(existing)} of TTG's queues exist, as they should be; a run creates what is missing",
        "",
    )


async def _permissions(connection: AmqpConnection, namespace: str) -> Finding:
    """Tried out on a queue that is gone with the connection."""
    name = f"{namespace}.doctor.{os.getpid()}"
    channel = await connection.channel()
    try:
        await channel.call("queue_declare", name, exclusive=True, auto_delete=True)
        channel.raw.basic_publish("", name, b"")
        await channel.call("queue_purge", name)
        await channel.call("queue_delete", name)
    except BrokerRefused as error:
        advice = (
            f"rabbitmqctl set_permissions USER '{namespace}\\..*' '({namespace}\\..*|amq\\.default)' '{namespace}\\..*'"
        )
        return "problem", "permissions", str(error), advice
    await channel.close()
    return "good", "permissions", f"this account may create, write and read {namespace}.…", ""


async def _streams(connection: AmqpConnection, namespace: str) -> Finding:
    """Tried out on one that is deleted at once: not every broker that speaks AMQP has them."""
    name = f"{namespace}.doctor.{os.getpid()}.stream"
    try:
        channel = await connection.channel()
        await channel.call("queue_declare", name, durable=True, arguments={"x-queue-type": "stream"})
        await channel.call("queue_delete", name)
        await channel.close()
    except BrokerError as error:
        text = str(error) if NO_STREAMS in str(error) else f"{NO_STREAMS}, or not for this account: {error}"
        return "problem", "streams", text.removesuffix(f": {STREAMS_ADVICE}"), STREAMS_ADVICE
    return "good", "streams", "this broker has stream queues, for results, events and run records", ""


def _nodes(config: BrokerConfig, login: Login) -> list[Finding]:
    """Alarms, from the management API."""
    try:
        there = endpoint(config, login)
        nodes = ask(replace(there, url=there.url.partition("/api/")[0] + "/api/nodes"), config)
    except urllib.error.HTTPError as error:
        advice = "rabbitmqctl set_user_tags USER monitoring"
        return [("note", "management", f"this account may not see alarms (HTTP {error.code})", advice)]
    except (OSError, ValueError) as error:
        advice = "rabbitmq-plugins enable rabbitmq_management, or name its port: amqp://…/?management=PORT"
        return [
            ("note", "management", f"not reachable, so alarms and unacknowledged counts stay unknown: {error}", advice)
        ]
    return [("good", "management", "the management API answers", ""), *(f for node in nodes for f in _alarms(node))]


def _alarms(node: dict[str, Any]) -> Iterator[Finding]:
    name = node.get("name", "?")
    if not node.get("running", True):
        yield "problem", "nodes", f"{name} does not run", "start it, or remove it from the cluster"
    if node.get("mem_alarm"):
        used, limit = node["mem_used"] / GIB, node["mem_limit"] / GIB
        advice = "free memory, or raise vm_memory_high_watermark"
        yield "problem", "memory", f"alarm on {name}: {used:.1f} of {limit:.1f} GiB used, publishing is blocked", advice
    if node.get("disk_free_alarm"):
        free, limit = node["disk_free"] / GIB, node["disk_free_limit"] / GIB
        advice = "free disk space, or lower disk_free_limit"
        yield (
            "problem",
            "disk",
            f"alarm on {name}: {free:.1f} GiB free, limit {limit:.1f}: publishing is blocked",
            advice,
        )
    elif not node.get("mem_alarm"):
        yield "good", "alarms", f"none on {name}", ""


def _acknowledgements() -> Finding:
    text = "consumer_timeout cannot be read from here (default: 30 minutes); TTG acknowledges every few seconds"
    return "note", "acknowledgements", text, "raise consumer_timeout only if a single parameter takes longer than that"
