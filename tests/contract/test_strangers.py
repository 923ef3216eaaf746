"""Messages that TTG did not make are quarantined with an event and stop nobody."""

from __future__ import annotations

import pytest
from backends import Backend
from looking import dead_letters
from making import done, task

from ttg.brokers.base import Broker
from ttg.messages import BrokerTrouble, MessageQuarantined, encode
from waiting import eventually

TRUNCATED = encode(task())[:-5]
BAD = {
    "empty": b"",
    "garbage": b"\x00\xff\xfe not json",
    "truncated": TRUNCATED,
    "foreign": b'{"job": 17, "queue": "emails"}',
    "unknown field": b'{"run":"r","id":"t","ranges":[[0,1]],"sudo":true}',
    "backward range": b'{"run":"r","id":"t","ranges":[[5,1]]}',
    "oversized": b"x" * (4 << 20),
    "deeply nested": b"[" * 100_000,
}


async def quarantine(broker: Broker) -> list[MessageQuarantined]:
    return [event for _, event in await broker.read_events(None, 1000, 0) if isinstance(event, MessageQuarantined)]


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_a_bad_task_is_set_aside(backend: Backend, broker: Broker, body: bytes) -> None:
    await backend.push(broker.config.namespace, "tasks", body)
    await broker.submit([task()])
    (delivery,) = await eventually(lambda: broker.lease(1, 0.5))
    assert delivery.task == task()
    assert await broker.settle([done(delivery)]) == [True]
    assert await broker.lease(1, 0.3) == []
    (event, *others) = await eventually(lambda: quarantine(broker))
    assert not others
    assert event.queue == f"{broker.config.namespace}.tasks"
    assert "Task" in event.reason
    assert (await broker.stats()).queue("tasks.dlq").messages == 1
    assert await dead_letters(broker) == []


async def test_a_bad_retry_is_set_aside(backend: Backend, broker: Broker) -> None:
    await backend.push(broker.config.namespace, "tasks.retry", TRUNCATED)
    assert await broker.lease(1, 1.0) == []
    await eventually(lambda: quarantine(broker))
    stats = await broker.stats()
    assert stats.queue("tasks.retry").messages == stats.queue("tasks").messages == 0


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_a_bad_result_is_skipped(backend: Backend, broker: Broker, body: bytes) -> None:
    await backend.push(broker.config.namespace, "results", body)
    await broker.submit([task()])
    (delivery,) = await broker.lease(1, 5.0)
    await broker.settle([done(delivery)])
    found = await eventually(lambda: broker.read_results(None, 10, 0.5))
    assert [message.header.task for message in found] == ["t0"]
    assert await eventually(lambda: quarantine(broker))


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_a_bad_event_is_skipped(backend: Backend, broker: Broker, body: bytes) -> None:
    await backend.push(broker.config.namespace, "events", body)
    good = BrokerTrouble(at=1.0, source="test", text="good")
    await broker.publish_events([good])
    found = await eventually(lambda: broker.read_events(None, 10, 0.5))
    assert [event for _, event in found] == [good]
