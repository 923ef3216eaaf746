"""The queues as they are now, from three sources that each know a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ttg.brokers.base import BrokerConfig, BrokerStats, QueueStats
from ttg.brokers.rabbitmq.connection import AmqpConnection
from ttg.brokers.rabbitmq.management import Management
from ttg.brokers.rabbitmq.topology import Lengths, Names, Topology

MOST_LOOKS = 10


class Figures:
    """``held`` says how many tasks this client holds: the broker's own count of them is seconds behind."""

    def __init__(
        self, config: BrokerConfig, topology: Topology, management: Management, held: Callable[[], int]
    ) -> None:
        self._namespace = config.namespace
        self._topology = topology
        self._management = management
        self._held = held

    async def look(self, connection: AmqpConnection, *, logs: bool = True) -> BrokerStats:
        """Sizes, consumers and, where somebody can tell, what is unacknowledged; of the ``logs`` only if wanted."""
        seen = await self._management.queues()
        known, actual = Names.within(self._namespace), self._topology.names
        delayed = [name for name in seen if name.startswith(f"{actual.retry}.")]  # also of delays that others chose
        work, mine = await self._work(connection, delayed)
        streams = await self._topology.stream_lengths(connection) if logs else {}
        column = "messages_unacknowledged"
        unacknowledged = {name: row[column] for name, row in seen.items() if column in row}
        held = sum(row.get("messages", 0) for name, row in seen.items() if name.startswith(actual.held("")))
        unacknowledged[actual.tasks] = max(unacknowledged.get(actual.tasks, 0) + held, mine)
        queues = {
            known.tasks: (actual.tasks,),
            known.retry: tuple(dict.fromkeys((*self._topology.retry_queues, *delayed))),
            known.dlq: (actual.dlq,),
            known.results: (actual.results,),
            known.events: (actual.events,),
        }
        rows = tuple(_row(name, names, work | streams, unacknowledged) for name, names in queues.items())
        return BrokerStats("rabbitmq", connection.about("version"), rows)

    async def _work(self, connection: AmqpConnection, others: Iterable[str]) -> tuple[Lengths, int]:
        """The work queues' lengths and how many tasks we hold: seen twice alike, lest one on its way is missed."""
        before = None
        for _ in range(MOST_LOOKS):
            lengths, mine = await self._topology.work_lengths(connection, others), self._held()
            if not mine or (lengths, mine) == before:
                break
            before = (lengths, mine)
        return lengths, mine


def _row(name: str, queues: tuple[str, ...], lengths: Lengths, unacknowledged: dict[str, int]) -> QueueStats:
    ready = sum(lengths[queue][0] for queue in queues if queue in lengths)
    consumers = sum(lengths[queue][1] for queue in queues if queue in lengths)
    known = [unacknowledged[queue] for queue in queues if queue in unacknowledged]
    return QueueStats(name, ready + sum(known), ready, sum(known) if known else None, consumers)
