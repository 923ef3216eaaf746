"""Submitting and leasing: who gets a task, who keeps it, and who gets it when its owner is gone."""

from __future__ import annotations

import asyncio

import pytest
from backends import Backend, Clients
from making import done, header, task, tasks

from ttg.brokers.base import Broker, BrokerConfig, Delivery, Settlement
from ttg.clock import loop_time
from ttg.messages import Outcome, Task, WorkerLost
from ttg.messages.rows import packed
from waiting import eventually


async def lease_all(broker: Broker, count: int) -> list[Delivery]:
    """Lease until ``count`` tasks came."""
    found: list[Delivery] = []

    async def more() -> int:
        found.extend(await broker.lease(count - len(found), 0.2))
        return len(found)

    await eventually(more, lambda got: got == count)
    return found


async def lost_workers(broker: Broker) -> list[WorkerLost]:
    return [event for _, event in await broker.read_events(None, 1000, 0) if isinstance(event, WorkerLost)]


def ids(found: list[Delivery]) -> list[str]:
    return sorted(delivery.task.id for delivery in found)


async def test_a_task_arrives_as_it_was_sent(broker: Broker) -> None:
    sent = Task("r", "c1.2", ((0, 2), (7, 8)), attempt=2, bisect_depth=1, rows=packed({"x": ["ä", None, 1.5]}))
    await broker.submit([sent])
    (delivery,) = await broker.lease(1, 5.0)
    assert delivery.task == sent
    assert delivery.deliveries == 1


async def test_no_task_is_an_empty_list_after_the_wait(broker: Broker) -> None:
    before = loop_time()
    assert await broker.lease(1, 0.3) == []
    assert 0.25 <= loop_time() - before < 5


async def test_a_waiting_lease_returns_when_a_task_comes(broker: Broker) -> None:
    waiting = asyncio.ensure_future(broker.lease(1, 30.0))
    await broker.submit([task()])
    before = loop_time()
    assert len(await waiting) == 1
    assert loop_time() - before < 5


async def test_lease_gives_no_more_than_asked_for(broker: Broker) -> None:
    await broker.submit(tasks(5))
    first = await broker.lease(2, 5.0)
    assert len(first) <= 2
    rest = await lease_all(broker, 5 - len(first))
    assert ids([*first, *rest]) == [f"t{number}" for number in range(5)]


async def test_many_tasks_at_once(broker: Broker) -> None:
    await broker.submit(tasks(2000))
    found = await lease_all(broker, 2000)
    assert len(set(ids(found))) == 2000
    assert all(await broker.settle([done(delivery) for delivery in found]))


async def test_a_leased_task_belongs_to_one(clients: Clients) -> None:
    brokers = [await clients(f"w{number}", lease_seconds=60.0) for number in range(3)]
    await brokers[0].submit(tasks(30))
    found = await asyncio.gather(*(broker.lease(10, 5.0) for broker in brokers))
    left = await brokers[0].lease(30, 0.5)
    got = ids([delivery for deliveries in found for delivery in deliveries] + left)
    assert got == sorted(f"t{number}" for number in range(30))


async def test_submitting_again_costs_a_duplicate_at_most(broker: Broker) -> None:
    await broker.submit([task()])
    await broker.submit([task()])
    found = await broker.lease(10, 5.0) + await broker.lease(10, 0.3)
    assert 1 <= len(found) <= 2
    assert all(delivery.task == task() for delivery in found)


async def test_renewing_keeps_a_task(clients: Clients) -> None:
    owner, other = await clients("owner", lease_seconds=0.6), await clients("other", lease_seconds=0.6)
    await owner.submit([task()])
    (delivery,) = await owner.lease(1, 5.0)
    for _ in range(8):
        assert await owner.renew([delivery]) == []
        assert await other.lease(1, 0.2) == []
    assert await owner.settle([done(delivery)]) == [True]


async def test_a_silent_consumer_loses_its_task_with_the_lease(backend: Backend, clients: Clients) -> None:
    if not backend.lease_expires:
        pytest.skip("here a lease ends with its channel, not by the clock")
    silent, other = await clients("silent", lease_seconds=0.5), await clients("other", lease_seconds=0.5)
    await other.submit([task()])
    (delivery,) = await silent.lease(1, 5.0)
    (taken,) = await other.lease(1, 10.0)
    assert taken.task == delivery.task
    assert taken.deliveries == 2
    assert await silent.renew([delivery]) == [delivery]
    (event,) = await lost_workers(other)
    assert (event.worker, event.tasks, event.how) == ("silent", 1, "lease")
    assert event.after_seconds >= 0.5


async def test_the_tasks_of_a_killed_consumer_are_taken_over_within_a_second(
    backend: Backend, clients: Clients, config: BrokerConfig
) -> None:
    other, seconds = await clients("other", lease_seconds=60.0), []
    for attempt in range(3):  # on a machine that is busy with something else, one of them is slow
        await other.submit([task(0), task(1)])
        await backend.kill_holder(BrokerConfig(config.url, config.namespace, lease_seconds=60.0), f"victim{attempt}")
        before = loop_time()
        found = await lease_all(other, 2)
        seconds.append(loop_time() - before)
        assert ids(found) == ["t0", "t1"]
        assert all(delivery.deliveries >= 2 for delivery in found)
        assert await other.settle([done(delivery) for delivery in found]) == [True, True]
        if min(seconds) < 1.5:
            return
    pytest.fail(f"taken over only after {seconds} s")


async def test_a_lost_worker_is_announced(backend: Backend, clients: Clients, config: BrokerConfig) -> None:
    other = await clients("other", lease_seconds=60.0)
    await other.submit([task()])
    await backend.kill_holder(BrokerConfig(config.url, config.namespace, lease_seconds=60.0), "victim")
    await lease_all(other, 1)
    (event, *_) = await eventually(lambda: lost_workers(other))
    assert event.tasks == 1
    assert event.how in ("connection", "redelivered")


async def test_closing_frees_what_was_leased(clients: Clients) -> None:
    leaver, other = await clients("leaver", lease_seconds=60.0), await clients("other", lease_seconds=60.0)
    await leaver.submit(tasks(3))
    await lease_all(leaver, 3)
    await leaver.close()
    assert ids(await lease_all(other, 3)) == ["t0", "t1", "t2"]
    await leaver.close()


async def test_returned_tasks_are_free_at_once(clients: Clients) -> None:
    owner, other = await clients("owner", lease_seconds=60.0), await clients("other", lease_seconds=60.0)
    await owner.submit([task()])
    (delivery,) = await owner.lease(1, 5.0)
    returned = Settlement(delivery, Outcome(header(task(), ()), remainder=(task(),)))
    assert await owner.settle([returned]) == [True]
    (again,) = await other.lease(1, 5.0)
    assert (again.task, again.deliveries) == (task(), 1)
    assert await owner.settle([returned]) == [False]
    assert await owner.lease(1, 0.3) == []
    assert await other.settle([done(again)]) == [True]


async def test_a_cancelled_lease_loses_no_task(clients: Clients) -> None:
    hasty, other = await clients("hasty"), await clients("other")
    for number in range(20):
        waiting = asyncio.ensure_future(hasty.lease(1, 5.0))
        await hasty.submit([task(number)])
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await hasty.close()
    assert ids(await lease_all(other, 20)) == sorted(f"t{number}" for number in range(20))
