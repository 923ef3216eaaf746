"""A link of 1 MB/s, over which a single result takes longer than a broker's silence may last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from backends import Backend
from making import done, tasks

from polling_proxy import CHUNK_BYTES, Proxy
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig
from ttg.brokers.rabbitmq import publisher, streams

RESULT_BYTES = 1 << 19


@pytest.fixture
def link(backend: Backend, config: BrokerConfig) -> Iterator[tuple[Proxy, BrokerConfig]]:
    proxy, url = backend.proxy()
    yield proxy, replace(config, url=url, lease_seconds=60.0)
    proxy.close()


async def test_large_results_pass_a_slow_link(
    broker: Broker, link: tuple[Proxy, BrokerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(streams, "FIRST_ENTRY_SECONDS", 0.2)
    proxy, config = link
    far = connect(config, "far")
    await far.open()
    await broker.submit(tasks(3))
    deliveries = [delivery for _ in range(3) for delivery in await far.lease(1, 5.0)]
    before = await broker.results_end()
    proxy.delay_seconds = CHUNK_BYTES / 1e6
    assert await far.settle([done(delivery, bytes(RESULT_BYTES)) for delivery in deliveries]) == [True] * 3
    end = await far.results_end()
    cursor = before or None
    for _ in range(3):
        page = await far.read_results(cursor, 1, 0.3, "r")
        assert [len(message.payload) for message in page] == [RESULT_BYTES]
        cursor = page[-1].cursor
    assert cursor == end
    await far.close()
