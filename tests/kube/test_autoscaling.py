"""What KEDA would scale by, asked of real brokers: the manifests' triggers, worked out as its scalers document it.

`redis-streams` without a consumer group is XLEN, `redis` the length of whatever type the key has (0 if there is none),
`rabbitmq` in mode QueueLength the sum of `messages` of all queues that match, over HTTP. The autoscaler takes the
greatest of the triggers, and scales to zero when all of them are 0.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import redis
import yaml

from rabbitmq_server import RabbitMQServer
from servers import RedisServer
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig, Settlement
from ttg.kube.render import tree
from ttg.messages import Outcome, ResultHeader, Task
from waiting import eventually

LAG_SECONDS = 60.0  # of RabbitMQ's management plugin
OTHER_DELAY_MS = 120_000  # not that of the shared retry queue


def triggers(backend: str) -> list[dict[str, str]]:
    """The metadata of the triggers that are rendered for a cluster."""
    objects = yaml.safe_load_all(tree()[f"overlays/keda-{backend}/autoscaler.yaml"])
    (scaled,) = (item for item in objects if item["kind"] == "ScaledObject")
    return [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]


def redis_length(url: str, trigger: dict[str, str]) -> int:
    commands = {b"stream": "XLEN", b"zset": "ZCARD", b"list": "LLEN", b"none": "LLEN"}
    with redis.Redis.from_url(url) as client:
        if "stream" in trigger:
            return int(client.xlen(trigger["stream"]))
        key = trigger["listName"]
        return int(client.execute_command(commands[client.type(key)], key))


def rabbitmq_length(server: RabbitMQServer, trigger: dict[str, str]) -> int:
    vhost = quote(trigger["vhostName"], safe="")
    name, size = quote(trigger["queueName"], safe=""), trigger["pageSize"]
    path = f"api/queues/{vhost}?page=1&use_regex={trigger['useRegex']}&pagination=false&name={name}&page_size={size}"
    token = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
    request = urllib.request.Request(f"{server.management_url}{path}", headers={"Authorization": f"Basic {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        queues: list[dict[str, Any]] = json.load(answer)["items"]
    return sum(queue.get("messages", 0) for queue in queues)


@dataclass
class Scaled:
    """A broker whose queues nobody has declared yet, and what KEDA finds there."""

    url: str
    lengths: Callable[[], list[int]]

    async def find(self, *expected: int) -> None:
        """KEDA comes to these figures, one a trigger."""

        async def found() -> list[int]:
            return self.lengths()

        await eventually(found, lambda lengths: lengths == list(expected), LAG_SECONDS)


@pytest.fixture
def on_redis(valkey: RedisServer) -> Scaled:
    return Scaled(valkey.url, lambda: [redis_length(valkey.url, trigger) for trigger in triggers("redis")])


@pytest.fixture
def on_rabbitmq(rabbitmq: RabbitMQServer) -> Scaled:
    return Scaled(rabbitmq.url, lambda: [rabbitmq_length(rabbitmq, trigger) for trigger in triggers("rabbitmq")])


async def opened(config: BrokerConfig) -> Broker:
    broker = connect(config, "w")
    await broker.open()
    return broker


async def purged(url: str) -> None:
    """Other tests may have used the server."""
    broker = await opened(BrokerConfig(url))
    await broker.purge()
    await broker.close()


@pytest.fixture
async def worker() -> AsyncIterator[Callable[[str], Awaitable[Broker]]]:
    brokers: list[Broker] = []

    async def start(url: str) -> Broker:
        await (await opened(BrokerConfig(url))).close()  # who declares the shared retry queue, with the usual delay
        brokers.append(await opened(BrokerConfig(url, retry_delay_ms=OTHER_DELAY_MS, lease_seconds=60.0)))
        return brokers[-1]

    yield start
    for broker in brokers:
        await broker.purge()
        await broker.close()


def header(task: Task, failed: int = 0) -> ResultHeader:
    return ResultHeader("r", task.id, () if failed else task.ranges, 1, "w", 0, 1.0, 0.5, failed=failed)


async def test_keda_scales_by_what_is_unfinished_and_never_to_zero_before_the_end(
    worker: Callable[[str], Awaitable[Broker]], on_redis: Scaled, on_rabbitmq: Scaled
) -> None:
    for scaled, sums in ((on_redis, False), (on_rabbitmq, True)):
        await purged(scaled.url)
        await scaled.find(*([0] if sums else [0, 0]))  # nothing is declared
        broker = await worker(scaled.url)
        await broker.submit([Task("r", f"t{number}", ((number, number + 1),)) for number in range(4)])
        first, second = await broker.lease(2, 10.0)
        await scaled.find(*([4] if sums else [4, 0]))  # those in work count
        again = Task("r", "again", first.task.ranges, attempt=2)
        await broker.settle(
            [Settlement(first, Outcome(header(first.task, 1), retries=(again,), retry_delay_ms=OTHER_DELAY_MS))]
        )
        rest = [second, *await broker.lease(2, 10.0)]
        await broker.settle([Settlement(delivery, Outcome(header(delivery.task), b"rows")) for delivery in rest])
        await scaled.find(*([1] if sums else [0, 1]))  # the retry alone
