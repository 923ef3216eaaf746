"""Monitoring of real brokers: every view agrees with the broker's own tools, Prometheus reads it, outages pass."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from rabbitmq_server import RabbitMQServer
from servers import RedisServer, redis_program
from synthetic import Fleet
from tools import need_program
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig, Settlement
from ttg.clock import unix_time
from ttg.messages import DeadLetter, Failure, Outcome, ResultHeader, Task
from ttg.monitor.feed import Feed, feeding
from ttg.monitor.prometheus import render
from ttg.monitor.snapshot import Snapshot
from waiting import eventually

Depths = dict[str, int]

NAMESPACE = "watched"
QUEUES = ("tasks", "tasks.retry", "tasks.dlq", "results")
MANAGEMENT_LAG_SECONDS = 60.0  # RabbitMQ's management plugin, which alone knows unacknowledged messages, lags behind


@dataclass
class Server:
    """A broker and its own tool: what ``depths()`` prints for each queue."""

    config: BrokerConfig
    depths: Callable[[], Awaitable[Depths]]


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    need_program("redis-cli", install="redis-tools")
    server = RedisServer(redis_program()).start()
    yield server
    server.close()


@pytest.fixture
def on_redis(redis_server: RedisServer) -> Server:
    def cli(*words: str) -> int:
        done = subprocess.run(
            ["redis-cli", "-s", redis_server.socket, *words], capture_output=True, text=True, check=True
        )
        return int(done.stdout.split()[0])

    async def depths() -> Depths:
        return {
            "tasks": cli("XLEN", "watched.tasks"),
            "tasks unacknowledged": cli("XPENDING", "watched.tasks", "ttg-workers"),
            "tasks.retry": cli("ZCARD", "watched.tasks.retry"),
            "tasks.dlq": cli("XLEN", "watched.tasks.dlq"),
            "results": cli("XLEN", "watched.results"),
        }

    return Server(BrokerConfig(redis_server.url, NAMESPACE, lease_seconds=60.0), depths)


@pytest.fixture
def on_rabbitmq(rabbitmq: RabbitMQServer) -> Server:
    async def depths() -> Depths:
        lines = await rabbitmq.control(
            "-q", "--no-table-headers", "list_queues", "name", "messages", "messages_unacknowledged"
        )
        rows = {row[0]: row[1:] for row in (line.split() for line in lines.splitlines()) if len(row) == 3}
        counted = {suffix: rows[f"{NAMESPACE}.{suffix}"] for suffix in QUEUES if f"{NAMESPACE}.{suffix}" in rows}
        figures = {suffix: int(all_) for suffix, (all_, _) in counted.items()}  # a queue just made has no figures yet
        delayed = [int(all_) for name, (all_, _) in rows.items() if name.startswith(f"{NAMESPACE}.tasks.retry.")]
        figures["tasks.retry"] = figures.get("tasks.retry", 0) + sum(delayed)
        return {**figures, "tasks unacknowledged": int(counted["tasks"][1])} if "tasks" in counted else figures

    return Server(BrokerConfig(rabbitmq.url, NAMESPACE, retry_delay_ms=60_000), depths)


@pytest.fixture(params=["on_redis", "on_rabbitmq"])
def server(request: pytest.FixtureRequest) -> Server:
    chosen: Server = request.getfixturevalue(request.param)
    return chosen


@asynccontextmanager
async def opened(config: BrokerConfig, name: str) -> AsyncIterator[Broker]:
    broker = connect(config, name)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


async def work_a_little(broker: Broker) -> None:
    """Nine chunks: one with results, one to retry, one given up, two held, four waiting."""
    await broker.submit([Task("r", f"t{number}", ((number, number + 1),)) for number in range(9)])
    held = []
    async with asyncio.timeout(20):
        while len(held) < 5:
            held += await broker.lease(5 - len(held), 1.0)
    headers = [ResultHeader("r", delivery.task.id, delivery.task.ranges, 1, "w", 0, 1.0, 0.5) for delivery in held[:1]]
    failure = Failure(2, "exception", "ValueError", "no")
    letter = DeadLetter("r", "m:f", held[2].task.ranges[0][0], {}, 4, failure, "w", 1.0)
    empty = [ResultHeader("r", delivery.task.id, (), 1, "w", 0, 1.0, 0.5, failed=1) for delivery in held[1:2]]
    gone = [ResultHeader("r", held[2].task.id, (), 1, "w", 0, 1.0, 0.5, dead=(letter,))]
    again = Task("r", "again", held[1].task.ranges, attempt=2)
    outcomes = [
        Outcome(headers[0], b"rows"),
        Outcome(empty[0], retries=(again,), retry_delay_ms=60_000),
        Outcome(gone[0]),
    ]
    await broker.settle([Settlement(*pair) for pair in zip(held, outcomes, strict=False)])


async def test_all_views_agree_with_the_brokers_own_tools(server: Server) -> None:
    elsewhere = replace(
        server.config, retry_delay_ms=5_000
    )  # who looks has not the run's delay, and so its retry queue
    async with opened(elsewhere, "monitor") as watcher, opened(server.config, "w1") as worker:
        await work_a_little(worker)
        expected = {"tasks": 6, "tasks unacknowledged": 2, "tasks.retry": 1, "tasks.dlq": 1}
        shown = await eventually(server.depths, lambda depths: expected.items() <= depths.items())
        snapshot = Snapshot()
        feed = Feed(watcher, snapshot)

        async def seen() -> Depths:
            await feed.catch_up()
            queues = {queue.name.removeprefix(f"{NAMESPACE}."): queue for queue in snapshot.at(unix_time()).queues}
            held = queues["tasks"].unacknowledged or 0
            return {name: queues[name].messages for name in QUEUES} | {"tasks unacknowledged": held}

        ours = await eventually(seen, lambda depths: depths == shown, MANAGEMENT_LAG_SECONDS)
        del ours["tasks unacknowledged"]
        metrics = render(snapshot.at(unix_time()))
        for name, messages in ours.items():
            assert f'ttg_queue_messages{{queue="{NAMESPACE}.{name}"}} {messages}.0\n' in metrics
        assert await web_depths(snapshot) == ours


async def web_depths(snapshot: Snapshot) -> Depths:
    """The queues as the dashboard's JSON has them."""
    from ttg.monitor.web.server import serve_dashboard

    async with serve_dashboard(snapshot, port=0) as site:
        queues = (await asyncio.to_thread(fetched, site.address.replace("?", "api/view?")))["queues"]
    return {
        name: queue["messages"] for queue in queues if (name := queue["name"].removeprefix(f"{NAMESPACE}.")) != "events"
    }


def fetched(address: str) -> Any:
    """JSON at ``address``, or ``None`` while nobody answers there."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


async def test_a_feed_survives_a_restart_of_the_broker(redis_server: RedisServer) -> None:
    config = BrokerConfig(redis_server.url)
    fleet, snapshot = Fleet(), Snapshot()
    fleet.began = fleet.now = unix_time()
    watcher = connect(config, "monitor")
    await watcher.open()

    async def view() -> Any:
        return snapshot.at(unix_time())

    async with feeding(watcher, snapshot), opened(config, "w1") as worker:
        await worker.publish_events([fleet.progress()])
        await eventually(view, lambda view: view.connected and view.runs)
        redis_server.kill()
        away = await eventually(view, lambda view: view.stale)
        assert not away.connected
        assert away.outage
        redis_server.start()
        await eventually(view, lambda view: view.connected and not view.stale)
        fleet.settled_chunks = 50
        await eventually(lambda: published(worker, fleet))
        back = await eventually(view, lambda view: view.runs[0].done == 500)
        assert back.runs[0].status == "active"


async def published(worker: Broker, fleet: Fleet) -> bool:
    await worker.publish_events([fleet.progress()])
    return True
