"""Collected results leave the log, all of them if none are to be kept."""

from __future__ import annotations

import pytest
from backends import Backend
from making import done, tasks

from ttg.brokers.base import Broker, ResultMessage

MOST_BYTES = 1_600
"""What one of these results takes at most."""


@pytest.fixture
def trims(backend: Backend) -> None:
    if not backend.trims:
        pytest.skip("here the log retires by itself, by age and size")


async def settled(broker: Broker, count: int, run: str) -> list[ResultMessage]:
    """So many results of a run, read."""
    await broker.submit(tasks(count, run))
    left = count
    while left:
        deliveries = await broker.lease(left, 5.0)
        assert all(await broker.settle([done(delivery, b"x" * 1000) for delivery in deliveries]))
        left -= len(deliveries)
    found: list[ResultMessage] = []
    while len(found) < count:
        found += await broker.read_results(found[-1].cursor if found else None, 100, 5.0, run)
    return found


@pytest.mark.usefixtures("trims")
async def test_the_newest_collected_one_goes_as_well(broker: Broker) -> None:
    mine = await settled(broker, 6, "mine")
    await settled(broker, 2, "yours")
    await broker.trim_results("mine", mine[3].cursor, keep_bytes=0)
    left = await broker.read_results(None, 100, 0.0)
    assert [message.cursor for message in left if message.header.run == "mine"] == [m.cursor for m in mine[4:]]
    assert sum(message.header.run == "yours" for message in left) == 2
    await broker.trim_results("mine", mine[-1].cursor, keep_bytes=0)
    assert not await broker.read_results(None, 100, 0.0, "mine")


@pytest.mark.usefixtures("trims")
async def test_it_says_what_is_left(broker: Broker) -> None:
    mine = await settled(broker, 6, "mine")
    assert await broker.trim_results("mine", mine[-1].cursor, keep_bytes=1 << 20) >= 6_000
    assert 3_500 <= await broker.trim_results("mine", mine[-1].cursor, keep_bytes=3_500) < 3_500 + MOST_BYTES
    assert await broker.trim_results("mine", mine[-1].cursor, keep_bytes=0) == 0
