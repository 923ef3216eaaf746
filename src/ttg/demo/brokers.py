"""The broker a demonstration runs through: the one that the environment names, else a private one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ttg.brokers import connect
from ttg.brokers.base import BrokerStats
from ttg.demo.local_rabbitmq import LocalRabbitMQ
from ttg.demo.tables import as_text
from ttg.errors import BrokerError
from ttg.settings import Settings, named_brokers

QUEUE_HEADER = ("name", "messages", "consumers", "messages_ready", "messages_unacknowledged")
FIGURES_SECONDS = 12.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoBroker:
    """``url`` is ``None`` for the embedded Valkey, which belongs to the run; ``node`` is a private RabbitMQ."""

    url: str | None = None
    node: LocalRabbitMQ | None = None

    @property
    def is_private(self) -> bool:
        """Whether it was started for the demonstration, so that it may be broken and thrown away."""
        return self.url is None or self.node is not None

    async def describe(self, stats: BrokerStats | None) -> str:
        """The queues now, in the broker's own words where it has a tool that can be asked."""
        if self.node is None or stats is None:
            return describe_queues(stats)
        try:
            rows = await _settled_figures(self.node, stats)
        except BrokerError as error:
            return str(error)
        return f"rabbitmqctl list_queues {' '.join(QUEUE_HEADER)}\n{as_text(QUEUE_HEADER, rows)}"


async def _settled_figures(node: LocalRabbitMQ, stats: BrokerStats) -> list[tuple[str, ...]]:
    """What ``rabbitmqctl`` says once it has caught up with what is: its figures are some seconds old."""
    expected = {queue.name: str(queue.messages) for queue in stats.queues if queue.name.endswith(("tasks", "results"))}
    deadline = asyncio.get_running_loop().time() + FIGURES_SECONDS
    while True:
        answer = await node.control("list_queues", *QUEUE_HEADER, "--formatter", "json", "--quiet")
        rows = sorted(tuple(str(row[column]) for column in QUEUE_HEADER) for row in json.loads(answer))
        caught_up = expected.items() <= {row[0]: row[1] for row in rows}.items()
        if caught_up or asyncio.get_running_loop().time() > deadline:
            return rows


def describe_queues(stats: BrokerStats | None) -> str:
    """The queues as ``rabbitmqctl list_queues`` would print them."""
    if stats is None:
        return "the broker did not answer"
    rows: list[tuple[str, ...]] = [
        (queue.name, str(queue.messages), *map(_or_dash, (queue.consumers, queue.ready, queue.unacknowledged)))
        for queue in stats.queues
    ]
    return f"{stats.backend} {stats.version.removeprefix(stats.backend).strip()}\n{as_text(QUEUE_HEADER, rows)}"


def _or_dash(number: int | None) -> str:
    return "–" if number is None else str(number)


@asynccontextmanager
async def demo_broker(backend: str, folder: Path, say: Say, *, keep: bool) -> AsyncIterator[DemoBroker]:
    """The broker of one demonstration; a private one is gone afterwards, with its files unless they are to be kept."""
    if url := named_brokers(os.environ).get(backend):
        say(f"The {backend} broker that the environment names.")
        yield DemoBroker(url)
    elif backend == "redis":
        say("A private Valkey on a unix socket, which ends with the run. (REDIS_HOST would name another.)")
        yield DemoBroker()
    else:
        async with _private_rabbitmq(folder, say, keep=keep) as node:
            yield DemoBroker(node.url, node)


@asynccontextmanager
async def _private_rabbitmq(folder: Path, say: Say, *, keep: bool) -> AsyncIterator[LocalRabbitMQ]:
    say("A private RabbitMQ node, which takes some seconds to start. (RABBITMQ_HOST would name another.)")
    node = LocalRabbitMQ(folder / "rabbitmq-node")
    try:
        await node.start()
        if node.management_url:
            say(f"RabbitMQ management UI: {node.management_url}  user {node.user}, password {node.password}")
        yield node
        if keep:
            await _let_inspect(node, say)
    finally:
        await node.stop()
        if not keep:
            shutil.rmtree(node.folder, ignore_errors=True)


async def _let_inspect(node: LocalRabbitMQ, say: Say) -> None:
    """Keep the node up for a person at a terminal, until Enter is pressed."""
    if not sys.stdin.isatty():
        return
    say(f"The node stays up for you to look at ({node.management_url or node.url}): press Enter to end it.")
    pressed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, pressed.set)
    try:
        await pressed.wait()
        sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin)


async def forget(settings: Settings, broker: DemoBroker, run: str) -> None:
    """Remove a finished run from a broker that others use as well."""
    if broker.is_private or broker.url is None:
        return
    client = connect(settings.broker_config(broker.url), "demo-cleanup")
    try:
        if record := await client.find_run(run, fresh=True):
            await client.purge(record)
    finally:
        await client.close()
