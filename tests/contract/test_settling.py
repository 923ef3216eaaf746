"""Settling: everything an outcome says becomes true, once, and only for the owner of the task."""

from __future__ import annotations

import pytest
from backends import Backend, Clients
from looking import dead_letters
from making import died, done, header, letter, task, tasks

from ttg.brokers.base import Broker, Settlement
from ttg.clock import loop_time
from ttg.messages import Outcome, Task
from waiting import eventually


async def depth(broker: Broker, queue: str) -> int:
    return (await broker.stats()).queue(queue).messages


async def test_a_settled_task_is_a_result_and_gone(broker: Broker) -> None:
    await broker.submit([task()])
    (delivery,) = await broker.lease(1, 5.0)
    assert await broker.settle([done(delivery, b"\x00\xff arrow")]) == [True]
    (message,) = await broker.read_results(None, 10, 5.0)
    assert message.header == header(task())
    assert message.payload == b"\x00\xff arrow"
    await eventually(lambda: depth(broker, "tasks"), lambda messages: messages == 0)


async def test_many_settlements_in_one_call(broker: Broker) -> None:
    await broker.submit(tasks(50))
    deliveries = await broker.lease(50, 5.0)
    assert await broker.settle([done(delivery) for delivery in deliveries]) == [True] * len(deliveries)
    assert await broker.settle([]) == []


async def test_settling_twice_is_refused_and_leaves_no_trace(broker: Broker) -> None:
    await broker.submit([task()])
    (delivery,) = await broker.lease(1, 5.0)
    assert await broker.settle([done(delivery)]) == [True]
    assert await broker.settle([done(delivery)]) == [False]
    assert len(await broker.read_results(None, 10, 0.5)) == 1


async def test_a_late_settle_is_refused_and_leaves_no_trace(backend: Backend, clients: Clients) -> None:
    if not (backend.fences and backend.lease_expires):
        pytest.skip("here a late result may appear, and the ledger drops it by index")
    late, other = await clients("late", lease_seconds=0.4), await clients("other", lease_seconds=0.4)
    await late.submit([task()])
    (delivery,) = await late.lease(1, 5.0)
    (taken,) = await other.lease(1, 10.0)
    retry = Task("r", "retry", ((0, 1),), attempt=2, identity="r")
    outcome = Outcome(header(task(), (), (letter(0),)), b"late", retries=(retry,), remainder=(retry,))
    assert await late.settle([Settlement(delivery, outcome)]) == [False]
    assert await other.settle([done(taken, b"in time")]) == [True]
    assert [message.payload for message in await other.read_results(None, 10, 1.0)] == [b"in time"]
    assert await dead_letters(other) == []
    assert await depth(other, "tasks") == await depth(other, "tasks.retry") == 0


async def test_one_that_is_not_ours_does_not_harm_the_others(broker: Broker) -> None:
    await broker.submit(tasks(3))
    first, second, third = await broker.lease(3, 5.0)
    await broker.settle([done(second)])
    assert await broker.settle([done(first), done(second), done(third)]) == [True, False, True]


async def test_a_retry_comes_back_after_its_delay(broker: Broker) -> None:
    await broker.submit([task()])
    (delivery,) = await broker.lease(1, 5.0)
    retry = Task("r", "t0.2", ((0, 1),), attempt=2, identity="r")
    before = loop_time()
    outcome = Outcome(header(task(), ()), retries=(retry,), retry_delay_ms=300)
    assert await broker.settle([Settlement(delivery, outcome)]) == [True]
    assert await depth(broker, "tasks.retry") == 1
    (again,) = await broker.lease(1, 10.0)
    assert loop_time() - before >= 0.299
    assert again.task == retry
    await eventually(lambda: depth(broker, "tasks.retry"), lambda messages: messages == 0)


async def test_a_remainder_is_there_at_once(broker: Broker) -> None:
    whole = Task("r", "whole", ((0, 10),), identity="r")
    rest = (
        Task("r", "rest1", ((4, 7),), identity="r"),
        Task("r", "rest2", ((7, 10),), bisect_depth=1, identity="r"),
    )
    await broker.submit([whole])
    (delivery,) = await broker.lease(1, 5.0)
    assert await broker.settle([Settlement(delivery, Outcome(header(whole, ((0, 4),)), b"x", remainder=rest))]) == [
        True
    ]
    found = await broker.lease(1, 5.0) + await broker.lease(1, 5.0)
    assert sorted(again.task.id for again in found) == ["rest1", "rest2"]
    assert sorted((again.task for again in found), key=lambda task: task.id) == list(rest)


async def test_dead_letters_are_filed(broker: Broker) -> None:
    await broker.submit([task(3)])
    (delivery,) = await broker.lease(1, 5.0)
    assert await broker.settle([died(delivery)]) == [True]
    assert await dead_letters(broker) == [letter(3)]
    (message,) = await broker.read_results(None, 10, 5.0)
    assert message.header.dead == (letter(3),)
    assert message.payload == b""


async def test_a_large_payload_travels_whole(broker: Broker) -> None:
    payload = bytes(range(256)) * (8 << 12)
    await broker.submit([task()])
    (delivery,) = await broker.lease(1, 5.0)
    assert await broker.settle([done(delivery, payload)]) == [True]
    (message,) = await broker.read_results(None, 10, 10.0)
    assert message.payload == payload
