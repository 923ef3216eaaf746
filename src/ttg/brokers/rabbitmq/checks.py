"""What ``ttg doctor`` says about a RabbitMQ broker. Nothing that lasts is changed."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.error
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ttg.brokers.base import BrokerConfig, Unserved
from ttg.brokers.credentials import Credentials, Login
from ttg.brokers.rabbitmq.connection import (
    NO_STREAMS,
    STREAMS_ADVICE,
    AmqpConnection,
    consumer_timeout_of,
    is_single_node,
)
from ttg.brokers.rabbitmq.management import nodes_of, policies_of
from ttg.brokers.rabbitmq.pool import Connections
from ttg.brokers.rabbitmq.repair import find_unserved
from ttg.brokers.rabbitmq.topology import Topology
from ttg.errors import BrokerError, BrokerRefused

Finding = tuple[str, str, str, str]

OLDEST_VERSION = (3, 10)
MIB, GIB = 1 << 20, 1 << 30
LOOKS = 6
LOSING = ("max-length", "max-length-bytes", "message-ttl", "expires")
LARGEST_MESSAGE = 16 * MIB
"""A payload has up to 15 MiB; its header is the rest."""


async def diagnose(
    config: BrokerConfig,
    topology: Topology,
    connections: Connections,
    credentials: Credentials,
) -> list[Finding]:
    """Findings ``(level, subject, text, advice)``. Raises ``BrokerError`` when the broker lets nobody in."""
    connection = await connections.get("read")
    return [
        version(connection.about("product"), connection.about("version")),
        one_broker(await _cluster_names(connections)),
        *await _queues(connection, topology),
        await _permissions(connection, config.namespace),
        await _message_size(connection, config.namespace),
        await _streams(connection, config.namespace),  # the last: one without them ends the connection
        *await asyncio.to_thread(_nodes, config, await credentials.current()),
        _acknowledgements(config),
    ]


def version(product: str, number: str) -> Finding:
    """What server it is, of which version."""
    if product != "RabbitMQ":
        advice = "try a small run before a large one, or use RabbitMQ, Redis or Valkey"
        return "note", "version", f"{product or 'not RabbitMQ'} {number}: TTG was never tried with it", advice
    if tuple(map(int, re.findall(r"\d+", number)[:2])) >= OLDEST_VERSION:
        return "good", "version", f"RabbitMQ {number}", ""
    return "problem", "version", f"RabbitMQ {number} has no stream queues", "upgrade to RabbitMQ 3.10 or newer, or 4.x"


async def _cluster_names(connections: Connections) -> set[str]:
    names = set()
    for _ in range(LOOKS):
        connection = await connections.another()
        names.add(connection.about("cluster_name"))
        await connection.close()
    return names


def one_broker(cluster_names: set[str]) -> Finding:
    """One address may lead to several, through a proxy or a load balancer: nodes of one cluster have its name."""
    if len(cluster_names) == 1:
        return "good", "cluster", f"{LOOKS} connections led to one broker, {next(iter(cluster_names)) or 'unnamed'}", ""
    names = ", ".join(sorted(cluster_names))
    advice = "name the address of one broker: tasks and results would be spread over them"
    return "problem", "cluster", f"{LOOKS} connections led to brokers that know nothing of each other: {names}", advice


async def _queues(connection: AmqpConnection, topology: Topology) -> list[Finding]:
    """Which of them serve nobody, or that all are well."""
    try:
        unserved = await find_unserved(connection, topology, ())
        existing = [] if unserved else await topology.check(connection)
    except BrokerError as error:
        return [("problem", "queues", str(error), "look at this queue in the management UI")]
    text = f"{len(existing)} of TTG's queues exist, as they should be; a run creates what is missing"
    return [_unserved(queue) for queue in unserved] or [("good", "queues", text, "")]


def _unserved(queue: Unserved) -> Finding:
    repair = "`ttg doctor --repair` says what is lost, and replaces it if you agree"
    other = "or set TTG_NAMESPACE to another prefix, or RABBITMQ_QUEUE_TYPE to its type"
    return "problem", "queues", f"{queue.name} serves nobody: {queue.why}", f"{repair}; {other}"


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
        nodes = nodes_of(config, login)
    except urllib.error.HTTPError as error:
        advice = "rabbitmqctl set_user_tags USER monitoring"
        return [("note", "management", f"this account may not see alarms (HTTP {error.code})", advice)]
    except (OSError, ValueError) as error:
        advice = "rabbitmq-plugins enable rabbitmq_management, or name its port: amqp://…/?management=PORT"
        return [
            ("note", "management", f"not reachable, so alarms and unacknowledged counts stay unknown: {error}", advice)
        ]
    answers = ("good", "management", "the management API answers", "")
    alarms = (finding for node in nodes for finding in _alarms(node))
    return [answers, *single_node(config, len(nodes)), *alarms, *_policies(config, login)]


def _policies(config: BrokerConfig, login: Login) -> Iterator[Finding]:
    """Those by which RabbitMQ throws tasks away, as far as this account may see policies."""
    tasks = f"{config.namespace}.tasks"
    with suppress(OSError, ValueError):
        for policy in policies_of(config, login):
            limits = [f"{name} {value}" for name, value in policy["definition"].items() if name in LOSING]
            if limits and policy["apply-to"] != "exchanges" and _matches(policy["pattern"], tasks):
                text = f"{policy['name']!r} gives {tasks} {', '.join(limits)}: what it throws away is submitted again"
                yield "problem", "policies", text, "give the policy a pattern that leaves these queues out"


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:  # Erlang's expressions are not all Python's
        return False


def single_node(config: BrokerConfig, nodes: int) -> list[Finding]:
    """What ``?nodes=1`` promises, and others suffer from where it is not true."""
    if nodes < 2 or not is_single_node(config):
        return []
    text = f"?nodes=1 in the URL says that this is one node, but they are {nodes}: TTG might replace queues of theirs"
    return [("problem", "nodes", text, "take nodes=1 out of the URL")]


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


async def _message_size(connection: AmqpConnection, namespace: str) -> Finding:
    """Tried out with a message to nobody, which goes no further than the node: the setting cannot be read from here."""
    channel = await connection.channel()
    try:
        channel.raw.basic_publish("", f"{namespace}.doctor.{os.getpid()}", bytes(LARGEST_MESSAGE))
        await channel.call("basic_qos", prefetch_count=1)
    except BrokerRefused as error:
        if limit := re.search(r"configured max size (\d+)", str(error)):
            text = f"max_message_size is {int(limit[1]) / MIB:.1f} MiB; a task may return {LARGEST_MESSAGE // MIB} MiB"
            return "problem", "messages", text, "raise max_message_size in rabbitmq.conf, or use smaller chunks"
        return "note", "messages", f"could not be tried: {error}", "give the account write permission on amq.default"
    except BrokerError as error:
        return "note", "messages", f"could not be tried: {error}", "look at the network, if that stays so"
    await channel.close()
    return "good", "messages", f"messages of {LARGEST_MESSAGE // MIB} MiB are taken", ""


def _acknowledgements(config: BrokerConfig) -> Finding:
    seconds = consumer_timeout_of(config)
    text = f"consumer_timeout cannot be read from here (default: 1800 s) and is taken for {seconds:.0f} s"
    return "note", "acknowledgements", text, "name it in the URL if it is shorter: ?consumer_timeout=SECONDS"
