"""What only RabbitMQ has: queue arguments, a management UI, alarms, channels that the server closes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from looking import dead_letters, read_all
from making import died, done, header, letter, task, tasks

from rabbitmq_server import RabbitMQServer
from ttg.brokers.base import BrokerConfig, Delivery, Settlement
from ttg.brokers.rabbitmq import RabbitMQBroker, run_log
from ttg.clock import loop_time
from ttg.errors import BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable
from ttg.messages import BrokerTrouble, Outcome, RunRecord, WorkerLost
from ttg.messages.records import renewed
from ttg.worker.execution import MAX_PAYLOAD_BYTES
from waiting import eventually


@pytest.fixture
def server(rabbitmq: RabbitMQServer) -> RabbitMQServer:
    return rabbitmq


@pytest.fixture
async def broker(server: RabbitMQServer, config: BrokerConfig) -> AsyncIterator[RabbitMQBroker]:
    broker = RabbitMQBroker(config, "worker")
    await broker.open()
    yield broker
    await broker.purge()
    await broker.close()


@pytest.fixture
def config(server: RabbitMQServer, request: pytest.FixtureRequest) -> BrokerConfig:
    return BrokerConfig(server.url, request.node.name[:40], retry_delay_ms=300)


async def work_off(broker: RabbitMQBroker, count: int) -> set[str]:
    """Settle tasks until ``count`` different ones have results, however often the broker fails; returns their ids."""
    done_so_far: set[str] = set()
    cursor: str | None = None

    async def settle_some() -> int:
        nonlocal cursor
        try:
            deliveries: list[Delivery] = await broker.lease(10, 0.2)
            await broker.settle([done(delivery) for delivery in deliveries])
            for message in await broker.read_results(cursor, 1000, 0):
                cursor = message.cursor
                done_so_far.add(message.header.task)
        except BrokerError:
            return -1
        return len(done_so_far)

    await eventually(settle_some, lambda results: results == count, within_seconds=40.0)
    return done_so_far


async def troubles(broker: RabbitMQBroker) -> list[str]:
    events = await broker.read_events(None, 1000, 0.5)
    return [event.text for _, event in events if isinstance(event, BrokerTrouble)]


# ------------------------------------------------------------------------------------------------ what people see


async def test_messages_are_readable_and_results_tell_by_their_headers(
    server: RabbitMQServer, broker: RabbitMQBroker
) -> None:
    await broker.submit([task(7)])
    (body,) = server.contents(f"{broker.config.namespace}.tasks")
    assert json.loads(body)["id"] == "t7"
    (delivery,) = await broker.lease(1, 5.0)
    await broker.settle([died(delivery)])
    (body,) = server.contents(f"{broker.config.namespace}.tasks.dlq")
    assert json.loads(body)["failure"]["traceback"] == "Traceback …"
    headers = server.first_of_stream(f"{broker.config.namespace}.results").headers
    assert headers | {"run": "r", "task": "t7", "worker": "w", "done": 0, "dead": 1, "milliseconds": 500} == headers


async def test_the_servers_own_list_of_queues(server: RabbitMQServer, broker: RabbitMQBroker) -> None:
    await broker.submit(tasks(3))
    (delivery,) = await broker.lease(1, 5.0)
    listed = await eventually(  # its figures are some seconds old
        lambda: server.queues(broker.config.namespace), lambda listed: listed["tasks"]["messages_ready"] == 2
    )
    assert {name: row["type"] for name, row in listed.items()} == {
        "tasks": "quorum",
        "tasks.retry": "quorum",
        "tasks.dlq": "quorum",
        "results": "stream",
        "events": "stream",
        "runs": "stream",
    }
    assert (listed["tasks"]["consumers"], listed["tasks"]["messages_unacknowledged"]) == (1, 1)
    await broker.settle([done(delivery)])


async def test_a_consumer_per_slot(broker: RabbitMQBroker) -> None:
    await broker.submit(tasks(8))
    held = await eventually(lambda: broker.lease(4, 1.0))
    while len(held) < 4:
        held += await broker.lease(4 - len(held), 1.0)
    assert (await broker.stats()).queue("tasks").consumers == 4
    assert (await broker.stats()).queue("tasks").ready == 4


# ------------------------------------------------------------------------------------------------ queues


async def test_what_follows_a_settled_task_goes_back_if_nobody_asks_for_it(broker: RabbitMQBroker) -> None:
    await broker.submit(tasks(2))
    (delivery,) = await broker.lease(1, 5.0)
    await broker.settle([done(delivery)])
    await eventually(lambda: broker.stats(), lambda stats: stats.queue("tasks").ready == 1)


async def test_deliveries_on_their_way_to_a_consumer_that_ends_are_not_lost(broker: RabbitMQBroker) -> None:
    """Whoever stops consuming while tasks stream in holds each that the broker thinks he holds, or gives it back."""
    await broker.submit(tasks(300))
    settled: set[str] = set()

    async def settle_a_few() -> int:
        taken = await broker.lease(50, 1.0)
        stopping = asyncio.create_task(broker._queue.pause())
        await broker.settle([done(delivery) for delivery in taken])
        settled.update(delivery.task.id for delivery in taken)
        await stopping
        assert [delivery.deliveries for delivery in taken] == [1] * len(taken)
        return len(settled)

    await eventually(settle_a_few, lambda count: count == 300)
    assert (await broker.stats()).queue("tasks").messages == 0


async def test_a_queue_with_other_arguments_is_refused(server: RabbitMQServer, config: BrokerConfig) -> None:
    server.create(f"{config.namespace}.tasks")
    broker = RabbitMQBroker(config, "worker")
    with pytest.raises(BrokerRefused, match=r"queue .*\.tasks exists with other arguments .* TTG_NAMESPACE"):
        await broker.open()
    await broker.close()
    server.delete(f"{config.namespace}.tasks")


async def test_classic_queues(config: BrokerConfig) -> None:
    broker = RabbitMQBroker(replace(config, queue_type="classic"), "worker")
    await broker.open()
    await broker.submit(tasks(20))
    assert len(await work_off(broker, 20)) == 20
    await broker.purge()
    await broker.close()


async def test_another_retry_delay_has_a_queue_of_its_own(broker: RabbitMQBroker) -> None:
    stranger = RabbitMQBroker(replace(broker.config, retry_delay_ms=60_000), "stranger")
    await stranger.open()
    await broker.submit(tasks(2))
    deliveries = [*(await broker.lease(1, 5.0)), *(await broker.lease(1, 5.0))]
    for client, delivery, delay_ms in zip((broker, broker), deliveries, (60_000, 900), strict=True):
        outcome = Outcome(header(delivery.task, ()), retries=(delivery.task,), retry_delay_ms=delay_ms)
        assert await client.settle([Settlement(delivery, outcome)]) == [True]
    assert (await broker.stats()).queue("tasks.retry").messages == 2
    (delivery,) = await broker.lease(1, 5.0)
    assert delivery.task == deliveries[1].task
    assert (await broker.stats()).queue("tasks.retry").messages == 1
    await stranger.close()


async def test_deleted_queues_are_made_again(server: RabbitMQServer, broker: RabbitMQBroker) -> None:
    await broker.submit(tasks(1))
    held = await broker.lease(1, 5.0)
    for name in ("tasks", "tasks.retry", "tasks.dlq", "results", "events", "runs"):
        server.delete(f"{broker.config.namespace}.{name}")
    await eventually(lambda: broker.renew(held), lambda lost: lost == held)
    await broker.submit(tasks(5))
    assert len(await work_off(broker, 5)) == 5
    await broker.change_run("again", lambda current: RunRecord(run="again"))
    assert await broker.find_run("again")


# ------------------------------------------------------------------------------------------------ the server's moods


@pytest.mark.parametrize("entries", [2, 9])
async def test_a_log_that_was_made_again_is_read_from_its_start(
    server: RabbitMQServer, broker: RabbitMQBroker, entries: int
) -> None:
    """Shorter or longer than the one before: an offset alone would pass over what is new in it."""
    cursor = None
    for number in range(5 + entries):
        if number == 5:
            cursor = (await read_all(broker))[-1].cursor
            server.delete(broker._names.results)
        await broker.submit([task(number)])
        (delivery,) = await broker.lease(1, 5.0)
        assert await broker.settle([done(delivery)]) == [True]
    found: list[str] = []

    async def read_on() -> int:
        nonlocal cursor
        for message in await broker.read_results(cursor, 100, 0.2):
            found.append(message.header.task)
            cursor = message.cursor
        return len(found)

    await eventually(read_on, lambda count: count >= entries)
    assert found == [f"t{number}" for number in range(5, 5 + entries)]


async def test_closed_connections_are_made_again(server: RabbitMQServer, broker: RabbitMQBroker) -> None:
    await broker.submit(tasks(30))
    held = await broker.lease(3, 5.0)
    await server.control("close_all_connections", "a test")
    await eventually(lambda: broker.renew(held), lambda lost: lost == held)
    assert await broker.settle([done(delivery) for delivery in held]) == [False] * len(held)
    assert len(await work_off(broker, 30)) == 30
    assert any("regained" in text for text in await troubles(broker))


async def test_a_memory_alarm_is_waited_out(server: RabbitMQServer, broker: RabbitMQBroker) -> None:
    await broker.submit(tasks(3))
    (held,) = await broker.lease(1, 5.0)
    await server.control("set_vm_memory_high_watermark", "0.0001")

    try:
        await eventually(lambda: full(broker))
        assert await broker.renew([held]) == []
        with pytest.raises(BrokerFull):
            await broker.settle([done(held)])
    finally:
        await server.control("set_vm_memory_high_watermark", "0.4")
    assert await eventually(lambda: settled_at_last(broker, held)) == [True]
    assert await eventually(lambda: troubles(broker), lambda texts: any("again" in text for text in texts))


async def full(broker: RabbitMQBroker) -> bool:
    try:
        async with asyncio.timeout(0.2):  # the broker blocks whoever publishes, and says so
            await broker.submit(tasks(1))
    except BrokerFull:
        return True
    except TimeoutError:
        return False
    return False


async def settled_at_last(broker: RabbitMQBroker, delivery: Delivery) -> Any:
    try:
        return await broker.settle([done(delivery)])
    except BrokerFull:
        return None


@pytest.fixture
async def impatient(server: RabbitMQServer) -> AsyncIterator[float]:
    """The node's acknowledgement timeout, in seconds, of channels opened from now on."""
    await server.set("consumer_timeout", 4000)
    await server.set("channel_tick_interval", 250)
    yield 4.0
    await server.set("consumer_timeout", 1_800_000)
    await server.set("channel_tick_interval", 60_000)


async def hold(broker: RabbitMQBroker, held: list[Delivery], seconds: float) -> list[Delivery]:
    """Renew what is held for so long; returns what was lost."""
    until = loop_time() + seconds
    return await eventually(lambda: broker.renew(held), lambda lost: bool(lost) or loop_time() >= until, 2 * seconds)


async def test_what_is_held_beyond_the_acknowledgement_timeout_stays_its_holders(
    server: RabbitMQServer, config: BrokerConfig, impatient: float
) -> None:
    """With classic queues; test_rabbitmq_runs.py has quorum queues, and a holder that dies."""
    config = replace(config, url=f"{server.url}&consumer_timeout={impatient / 2:.0f}", queue_type="classic")
    holder, other = RabbitMQBroker(config, "holder"), RabbitMQBroker(config, "other")
    await asyncio.gather(holder.open(), other.open())
    await holder.submit(tasks(2))
    held = await eventually(lambda: holder.lease(2, 5.0), lambda leased: len(leased) == 2)

    assert await hold(holder, held, 1.5 * impatient) == []
    figures = (await holder.stats()).queue("tasks")
    assert (figures.messages, figures.ready) == (2, 0)
    given_back = Settlement(held[1], Outcome(header(held[1].task, ()), remainder=(held[1].task,)))
    assert await holder.settle([done(held[0]), given_back]) == [True, True]
    (taken,) = await other.lease(2, 5.0)
    assert (taken.task.id, taken.deliveries) == (held[1].task.id, 1)
    assert [name for name in await other.purge() if ".tasks.held.holder." in name]
    assert await server.queues(config.namespace) == {}
    await asyncio.gather(holder.close(), other.close())


async def test_the_acknowledgement_timeout_is_learned(
    server: RabbitMQServer, config: BrokerConfig, impatient: float, caplog: pytest.LogCaptureFixture
) -> None:
    """By one lease that is lost, for whom the URL says nothing."""
    broker = RabbitMQBroker(config, "worker")
    await broker.open()
    await broker.submit(tasks(1))
    held = await broker.lease(1, 5.0)
    assert await hold(broker, held, 60.0) == held
    assert "set ?consumer_timeout=SECONDS" in caplog.text
    held = await broker.lease(1, 10.0)
    assert await hold(broker, held, 2 * impatient) == []
    assert await broker.settle([done(held[0])]) == [True]
    await broker.purge()
    await broker.close()


async def test_where_a_queue_for_long_calls_is_refused_they_go_on(
    server: RabbitMQServer, config: BrokerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    own = "|".join(
        f"{config.namespace}\\.{queue}" for queue in ("tasks", "tasks\\.(retry|dlq)", "results", "events", "runs")
    )
    await server.control("add_user", "narrow", "secret")
    await server.control("set_permissions", "narrow", f"^({own})$", ".*", ".*")
    url = f"amqp://narrow:secret@127.0.0.1:{server.port}/%2F?consumer_timeout=1"
    broker = RabbitMQBroker(replace(config, url=url), "worker")
    await broker.open()
    await broker.submit(tasks(1))
    held = await broker.lease(1, 5.0)
    assert await hold(broker, held, 1.0) == []
    assert "will be executed again" in caplog.text
    assert await broker.settle([done(held[0])]) == [True]
    await broker.purge()
    await broker.close()


async def test_the_largest_payloads_that_children_make(broker: RabbitMQBroker) -> None:
    """RabbitMQ 4 takes messages of at most 16 MiB by default."""
    await broker.submit([task()])
    (delivery,) = await broker.lease(1, 5.0)
    payload = bytes(MAX_PAYLOAD_BYTES)
    assert await broker.settle([done(delivery, payload)]) == [True]
    (message,) = await broker.read_results(None, 1, 10.0)
    assert message.payload == payload


async def test_wrong_credentials_are_refused_without_showing_them(config: BrokerConfig) -> None:
    wrong = replace(config, url=config.url.replace("ttg:", "ttg:secret"))
    with pytest.raises(BrokerRefused, match="user or the password") as refusal:
        await RabbitMQBroker(wrong, "worker").open()
    assert "secret" not in str(refusal.value)


async def test_killed_right_after_the_first_queues_were_made() -> None:
    server = RabbitMQServer()
    await server.start()
    broker = RabbitMQBroker(BrokerConfig(server.url), "worker")
    try:
        await broker.open()
        await broker.submit(tasks(10))
        await server.crash_and_restart()
        await eventually(lambda: submitted(broker), within_seconds=60.0)
        assert await work_off(broker, 10) == {f"t{number}" for number in range(10)}
    finally:
        await broker.close()
        await server.stop()
        server.remove()


async def submitted(broker: RabbitMQBroker) -> bool:
    try:
        await broker.submit(tasks(10))
    except BrokerUnavailable:
        return False
    return True


async def test_dead_letters_survive_being_looked_at(server: RabbitMQServer, broker: RabbitMQBroker) -> None:
    await broker.submit(tasks(5))
    for _ in range(5):
        (delivery,) = await broker.lease(1, 5.0)
        await broker.settle([died(delivery)])
    for _ in range(10):
        counts = await broker.purge(RunRecord(run="r", identity="r"), dry_run=True)
        assert counts[broker._names.dlq] == 5
    assert await broker.take_dead_letters("r", [1, 3]) == 2
    assert await dead_letters(broker) == [letter(index) for index in (0, 2, 4)]


async def test_those_who_take_dead_letters_take_turns(config: BrokerConfig, broker: RabbitMQBroker) -> None:
    other = RabbitMQBroker(config, "other")
    await other.open()
    await broker.submit(tasks(3))
    for _ in range(3):
        (delivery,) = await broker.lease(1, 5.0)
        await broker.settle([died(delivery)])
    taken = await asyncio.gather(*(client.take_dead_letters("r", [0, 2]) for client in (broker, other, broker, other)))
    assert sum(taken) == 2
    assert [letter.index for letter in await dead_letters(broker)] == [1]
    await other.close()


async def test_a_redelivery_after_the_broker_was_away_blames_no_worker(
    server: RabbitMQServer, broker: RabbitMQBroker
) -> None:
    await broker.submit(tasks(3))
    await broker.lease(3, 5.0)
    await server.control("close_all_connections", "a test")
    assert len(await work_off(broker, 3)) == 3
    events = [event for _, event in await broker.read_events(None, 100, 0.5)]
    assert not [event for event in events if isinstance(event, WorkerLost)]


async def test_large_results_are_fetched_a_few_at_a_time(config: BrokerConfig, broker: RabbitMQBroker) -> None:
    """A prefetch counts messages: with many of some MB, it must be small."""
    payload = bytes(4 << 20)
    for number in range(12):
        await broker.submit([task(number)])
        (delivery,) = await broker.lease(1, 5.0)
        assert await broker.settle([done(delivery, payload)]) == [True]
    reader = RabbitMQBroker(config, "reader")
    cursor: str | None = None
    for _ in range(4):
        (message, *_) = await reader.read_results(cursor, 1, 10.0)
        cursor = message.cursor
    assert [attached._prefetch <= 2 for attached in reader._readers._idle.values()] == [True]
    await reader.close()
    onlooker = RabbitMQBroker(config, "onlooker")
    assert (await onlooker.stats()).queue("results").messages == 12
    link = (await onlooker._reading())._connection
    before = link.bytes_received
    counted = await eventually(onlooker.stats, lambda stats: stats.queue("results").messages == 12)
    assert counted.queue("events").messages == (await broker.stats()).queue("events").messages
    assert link.bytes_received - before < len(payload), "whoever looks every second does not fetch results for it"
    await onlooker.close()


async def test_a_change_of_a_record_counts_only_if_nobody_was_faster(
    config: BrokerConfig, broker: RabbitMQBroker
) -> None:
    """The order of the log decides, also for those who begin to read later."""
    other = RabbitMQBroker(config, "other")
    assert await broker.swap_run(None, RunRecord(run="r", identity="a", revision=1))
    mine = await other.find_run("r")
    first, second = RunRecord(run="r", identity="a", revision=2), RunRecord(run="r", identity="b", revision=3)
    assert await broker.swap_run(mine, first)
    assert not await other.swap_run(mine, second)
    late = RabbitMQBroker(config, "late")
    for client in (broker, other, late):
        assert await client.find_run("r", fresh=True) == first
    await asyncio.gather(other.close(), late.close())


async def test_a_specification_is_published_again_before_the_log_forgets_it(
    broker: RabbitMQBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "SPEC_AGAIN_BYTES", 300)
    record = await broker.change_run("r", lambda current: RunRecord(run="r", identity="a"), b'{"spec": 1}')
    for at in range(30):
        await broker.change_run("r", partial(renewed, mine=record, now=at + 1.0))
    bodies, cursor = [], None
    while entries := await broker._readers.read(broker._names.runs, cursor, 100, 0.5):
        bodies += [entry.body for entry in entries]
        cursor = entries[-1].cursor
    assert len(bodies) == 31
    assert sum(b'{"spec": 1}' in body for body in bodies) > 2
