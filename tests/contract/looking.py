"""What a person sees in a broker's own tools: the dead letters as they lie there."""

from __future__ import annotations

from ttg.brokers.base import Broker, ResultMessage
from ttg.brokers.memory import MemoryBroker
from ttg.brokers.rabbitmq import RabbitMQBroker
from ttg.brokers.rabbitmq.rotation import peek
from ttg.brokers.redis import RedisBroker
from ttg.messages import DeadLetter, decode

MOST = 20_000


async def dead_letters(broker: Broker, run: str | None = None) -> list[DeadLetter]:
    """Oldest first; nothing is consumed. Messages that were quarantined are no letters."""
    found = [decode(body, DeadLetter) for body in await _bodies(broker)]
    return [letter for letter in found if run in (None, letter.run)]


async def _bodies(broker: Broker) -> list[bytes]:
    if isinstance(broker, MemoryBroker):
        here = broker.server.namespace(broker.config.namespace)
        return [entry.body for entry in here.letters.entries if entry.identity is not None]
    if isinstance(broker, RedisBroker):
        entries = await broker._pool.command("XRANGE", broker._keys.letters, "-", "+")
        fields = [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in entries]
        return [entry[b"letter"] for entry in fields if b"letter" in entry]
    assert isinstance(broker, RabbitMQBroker)
    connection, names = await broker._connections.get("read"), broker._names
    return [seen.body for seen in await peek(connection, names.dlq, lambda seen: seen.kind == "dead letter", MOST)]


async def read_all(broker: Broker, run: str | None = None, after: str | None = None) -> list[ResultMessage]:
    """The results log, page by page: one reading gives what is there soonest, which need not be all."""
    found: list[ResultMessage] = []
    while page := await broker.read_results(found[-1].cursor if found else after, 3, 0.5, run):
        assert len(page) <= 3
        found += page
    return found


def task_ids(messages: list[ResultMessage]) -> set[str]:
    """Of which tasks these are."""
    return {message.header.task for message in messages}
