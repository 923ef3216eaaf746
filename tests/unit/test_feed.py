"""Reading events: what is past, and what is news."""

from __future__ import annotations

from synthetic import Fleet
from ttg.brokers.base import BrokerConfig
from ttg.brokers.memory import MemoryBroker, MemoryServer
from ttg.clock import unix_time
from ttg.messages import AnyEvent
from ttg.monitor.feed import Feed
from ttg.monitor.snapshot import Snapshot


async def test_the_end_of_the_past_is_found_while_something_new_comes_all_the_time() -> None:
    """With a run under way there may never be a moment without events."""
    broker = MemoryBroker(BrokerConfig("memory://"), "w", MemoryServer())
    await broker.open()
    news: list[AnyEvent] = []
    fleet, feed = Fleet(), Feed(broker, Snapshot(), news.append)
    for at, expected in ((unix_time() - 60, False), (unix_time() + 1, True), (unix_time() + 2, True)):
        fleet.now = at
        await broker.publish_events([fleet.progress()])
        await feed.read_events(wait_seconds=0.0)
        assert feed.snapshot.caught_up is expected
    assert [event.at for event in news] == [fleet.now]
