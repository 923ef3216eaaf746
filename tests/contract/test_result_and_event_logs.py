"""The results log and the events log: read without consuming, by anybody, from anywhere."""

from __future__ import annotations

import asyncio

from backends import Clients
from looking import read_all, task_ids
from making import done, tasks

from ttg.brokers.base import Broker
from ttg.messages import BrokerTrouble, Event
from waiting import eventually


async def settle_some(broker: Broker, count: int, run: str = "r", payload: bytes = b"p") -> None:
    await broker.submit(tasks(count, run))
    left = count
    while left:
        deliveries = await broker.lease(left, 5.0)
        assert all(await broker.settle([done(delivery, payload) for delivery in deliveries]))
        left -= len(deliveries)


def trouble(text: str) -> Event:
    return BrokerTrouble(at=1.0, source="test", text=text)


async def test_results_are_read_page_by_page(broker: Broker) -> None:
    await settle_some(broker, 10)
    messages = await read_all(broker)
    assert task_ids(messages) == {f"t{number}" for number in range(10)}
    assert len(messages) == 10


async def test_several_readers_from_any_place(clients: Clients) -> None:
    one, two = await clients("one"), await clients("two")
    await settle_some(one, 6)
    first, second = await asyncio.gather(read_all(one), read_all(two))
    assert first == second
    assert await read_all(two, after=first[3].cursor) == first[4:]
    assert await read_all(one) == first


async def test_results_of_one_run(broker: Broker) -> None:
    await settle_some(broker, 4, "mine")
    await settle_some(broker, 4, "yours")
    await settle_some(broker, 1, "mine")
    found = await read_all(broker, "mine")
    assert [message.header.run for message in found] == ["mine"] * 5
    assert await broker.read_results(found[-1].cursor, 10, 0.2, "mine") == []
    await settle_some(broker, 2, "mine")
    assert len(await read_all(broker, "mine", found[-1].cursor)) == 2


async def test_a_waiting_reader_is_woken(clients: Clients) -> None:
    reader, worker = await clients("reader"), await clients("worker")
    waiting = asyncio.ensure_future(reader.read_results(None, 10, 30.0, "r"))
    await settle_some(worker, 1, "other")
    await settle_some(worker, 1, "r")
    assert task_ids(await asyncio.wait_for(waiting, 10.0)) == {"t0"}


async def test_trimming_keeps_the_newest_and_others(broker: Broker) -> None:
    await settle_some(broker, 8, "mine", b"x" * 1000)
    await settle_some(broker, 2, "yours")
    await settle_some(broker, 2, "mine", b"not collected")
    collected = (await read_all(broker, "mine"))[:8]
    await broker.trim_results("mine", collected[-1].cursor, keep_bytes=2500)
    left = await read_all(broker, "mine")
    newest = [message.cursor for message in collected[-2:]]
    assert set(newest) <= {message.cursor for message in left}
    assert len(left) >= 4
    assert len(await read_all(broker, "yours")) == 2


async def test_events_are_a_log(clients: Clients) -> None:
    one, two = await clients("one"), await clients("two")
    sent = [trouble(str(number)) for number in range(5)]
    await one.publish_events(sent)
    found = await eventually(lambda: two.read_events(None, 100, 0.2), lambda entries: len(entries) == 5)
    assert [event for _, event in found] == sent
    assert [event for _, event in await one.read_events(found[1][0], 2, 1.0)] == sent[2:4]
    await one.publish_events([])


async def test_only_new_events(clients: Clients) -> None:
    reader, writer = await clients("reader"), await clients("writer")
    await writer.publish_events([trouble("old")])
    waiting = asyncio.ensure_future(reader.read_events("$", 10, 20.0))

    async def told() -> bool:
        await writer.publish_events([trouble("new")])
        return waiting.done()

    await eventually(told)
    assert {event.text for _, event in await waiting if isinstance(event, BrokerTrouble)} == {"new"}


async def test_a_page_of_results_is_bounded_in_bytes(clients: Clients) -> None:
    """Also the first one, and one of large results behind many small ones, whose size was learnt."""
    writer, reader = await clients("writer", 60.0), await clients("reader")
    await settle_some(writer, 30)
    await settle_some(writer, 12, payload=bytes(1 << 20))
    cursor, sizes = None, list[int]()
    while len(sizes) < 42:
        page = await reader.read_results(cursor, 100, 5.0)
        cursor = page[-1].cursor
        sizes += (len(message.payload) for message in page)
        assert sum(len(message.payload) for message in page) <= 6 << 20
    assert sum(size > 1000 for size in sizes) == 12
