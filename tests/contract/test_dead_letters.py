"""Dead letters: looked at as often as one likes, taken on purpose only."""

from __future__ import annotations

from looking import dead_letters
from making import died, letter, tasks

from ttg.brokers.base import Broker
from waiting import eventually


async def dead_letter(broker: Broker, count: int, run: str = "r") -> None:
    await broker.submit(tasks(count, run))
    left = count
    while left:
        deliveries = await broker.lease(left, 5.0)
        assert all(await broker.settle([died(delivery) for delivery in deliveries]))
        left -= len(deliveries)


async def indices(broker: Broker, run: str | None = None) -> list[int]:
    return sorted(found.index for found in await dead_letters(broker, run))


async def test_looking_does_not_consume(broker: Broker) -> None:
    await dead_letter(broker, 4)
    first = await dead_letters(broker)
    assert sorted(first, key=lambda found: found.index) == [letter(number) for number in range(4)]
    for _ in range(20):
        assert await dead_letters(broker) == first
    await eventually(broker.stats, lambda stats: stats.queue("tasks.dlq").messages == 4)


async def test_looking_at_one_run(broker: Broker) -> None:
    await dead_letter(broker, 3, "mine")
    await dead_letter(broker, 2, "yours")
    assert await indices(broker, "yours") == [0, 1]
    assert await indices(broker, "nobody's") == []


async def test_taking_some(broker: Broker) -> None:
    await dead_letter(broker, 5, "mine")
    await dead_letter(broker, 5, "yours")
    assert await broker.take_dead_letters("mine", [1, 3, 99]) == 2
    assert await indices(broker, "mine") == [0, 2, 4]
    assert await indices(broker, "yours") == [0, 1, 2, 3, 4]


async def test_taking_all_of_a_run(broker: Broker) -> None:
    await dead_letter(broker, 3, "mine")
    await dead_letter(broker, 1, "yours")
    assert await broker.take_dead_letters("mine", range(10)) == 3
    assert await broker.take_dead_letters("mine", range(10)) == 0
    assert await indices(broker) == [0]
