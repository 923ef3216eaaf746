"""The broker contract on RabbitMQ (3.10 and later, 4.x)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from ttg.brokers.base import Broker, BrokerConfig, BrokerStats, Delivery, ResultMessage, Settlement, Unserved
from ttg.brokers.credentials import Credentials
from ttg.brokers.rabbitmq import checks, encoding
from ttg.brokers.rabbitmq.cleaning import Cleaner
from ttg.brokers.rabbitmq.connection import AmqpConnection
from ttg.brokers.rabbitmq.figures import Figures
from ttg.brokers.rabbitmq.management import Management, nodes_of
from ttg.brokers.rabbitmq.pool import Connections
from ttg.brokers.rabbitmq.repair import find_unserved, replace
from ttg.brokers.rabbitmq.run_log import RunRegistry
from ttg.brokers.rabbitmq.sending import Sender
from ttg.brokers.rabbitmq.streams import Decoded, Readers, StreamEntry, last_entry
from ttg.brokers.rabbitmq.topology import Topology
from ttg.brokers.rabbitmq.work_queue import Chores, WorkQueue
from ttg.clock import unix_time
from ttg.errors import BrokerError, MessageError
from ttg.messages import AnyEvent, BrokerTrouble, MessageQuarantined, RunRecord, Task

T = TypeVar("T")


class RabbitMQBroker(Broker):
    """Three connections (publish, consume, read); leases are what the consuming channel holds unacknowledged."""

    backend = "rabbitmq"

    def __init__(self, config: BrokerConfig, consumer: str) -> None:
        super().__init__(config, consumer)
        self._topology = Topology(config)
        self._names = self._topology.names
        self._credentials = Credentials(config, self.processes)
        self._connections = Connections(config, consumer, self._on_trouble, self._credentials)
        self._sender = Sender(self._connections, self._topology, self._on_trouble)
        self._runs = RunRegistry(lambda: self._names.runs, self._reading, self._sender.publish)
        self._readers = Readers(self._reading)
        management = Management(config, self._credentials)
        self._cleaner = Cleaner(self._connections, self._topology, self._sender, self._runs, management)
        self._chores = Chores()
        self._queue = WorkQueue(
            config,
            consumer,
            self._connections,
            self._topology,
            self._sender,
            self._runs,
            self._chores,
            self.publish_events,
        )
        self._figures = Figures(config, self._topology, management, lambda: self._queue.held)

    # -- lifecycle

    async def open(self) -> None:
        await self._connections.get("publish", timeout_seconds=0.0)
        await self._sender.publisher()

    async def close(self) -> None:
        self._chores.cancel()
        try:
            await self._queue.pause()
        except BrokerError:
            pass
        finally:
            self._queue.reset()
            self._sender.reset()
            self._runs.detach()
            await self._connections.close()
            self._credentials.close()

    async def _reading(self) -> AmqpConnection:
        return await self._connections.get("read")

    # -- runs

    async def find_run(self, run: str, *, fresh: bool = False) -> RunRecord | None:
        return (await self._sender.with_queues(lambda: self._runs.records(fresh=fresh))).get(run)

    async def list_runs(self) -> list[RunRecord]:
        return list((await self._sender.with_queues(self._runs.records)).values())

    async def find_spec(self, record: RunRecord) -> bytes | None:
        return await self._sender.with_queues(lambda: self._runs.spec(record))

    async def swap_run(self, old: RunRecord | None, new: RunRecord, spec: bytes | None = None) -> bool:
        return await self._sender.with_queues(lambda: self._runs.swap(old, new, spec))

    async def forget_run(self, record: RunRecord) -> None:
        await self._runs.forget(record, always=False)

    # -- tasks

    async def submit(self, tasks: Sequence[Task]) -> None:
        await self._sender.publish(encoding.task_message(self._names.tasks, task) for task in tasks)

    async def lease(self, limit: int, wait_seconds: float) -> list[Delivery]:
        return await self._queue.lease(limit, wait_seconds)

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self._queue.renew(deliveries)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        return await self._queue.settle(settlements)

    # -- logs

    async def read_results(
        self, after: str | None, limit: int, wait_seconds: float, identity: str | None = None
    ) -> list[ResultMessage]:
        return await self._read(self._names.results, after, limit, wait_seconds, self._decoded_results, identity or "")

    async def _decoded_results(self, entries: list[StreamEntry]) -> list[ResultMessage]:
        found = []
        for entry in entries:
            try:
                found.append(encoding.read_result(entry))
            except MessageError as error:
                queue = self._names.results
                event = MessageQuarantined(at=unix_time(), source=self.consumer, queue=queue, reason=str(error))
                await self.publish_events([event])
        return found

    async def results_end(self) -> str:
        async def newest() -> StreamEntry | None:
            return await last_entry(await self._reading(), self._names.results)

        entry = await self._sender.with_queues(newest)
        return entry.cursor if entry else ""

    async def trim_results(self, identity: str, up_to: str, keep_bytes: int) -> int:
        """Nothing: the stream retires its oldest segments by itself once they are too old or too many."""
        return 0

    async def publish_events(self, events: Iterable[AnyEvent]) -> None:
        await self._sender.post(encoding.event_message(self._names.events, event) for event in events)

    async def read_events(self, after: str | None, limit: int, wait_seconds: float) -> list[tuple[str, AnyEvent]]:
        async def decoded(entries: list[StreamEntry]) -> list[tuple[str, AnyEvent]]:
            return list(encoding.read_events(entries))

        return await self._read(self._names.events, after, limit, wait_seconds, decoded)

    async def _read(
        self, stream: str, after: str | None, limit: int, wait_seconds: float, decoded: Decoded[T], identity: str = ""
    ) -> list[T]:
        return await self._sender.with_queues(
            lambda: self._readers.read_decoded(stream, after, limit, wait_seconds, decoded, identity)
        )

    # -- dead letters, looking and cleaning

    async def take_dead_letters(self, identity: str, indices: Iterable[int]) -> int:
        return await self._cleaner.take_dead_letters(identity, set(indices))

    async def stats(self, *, logs: bool = True) -> BrokerStats:
        return await self._figures.look(await self._reading(), logs=logs)

    async def purge(self, record: RunRecord | None = None, *, dry_run: bool = False) -> dict[str, int]:
        await self._queue.pause()
        if record is not None:
            return await self._purge_run(record, dry_run=dry_run)
        counts = await self._cleaner.purge_namespace(dry_run=dry_run)
        if not dry_run:
            self._queue.forget_everything()
        return counts

    async def _purge_run(self, record: RunRecord, *, dry_run: bool) -> dict[str, int]:
        current = await self.find_run(record.run, fresh=True)
        counts = {"runs": int(current is not None and current.identity == record.identity)}
        if not dry_run:
            await self._runs.forget(record, always=True)
            self._queue.drop(record.identity)
        counts |= await self._cleaner.purge_run(record, dry_run=dry_run)
        await self.find_run(record.run, fresh=True)
        return counts

    async def diagnose(self) -> list[checks.Finding]:
        return await checks.diagnose(self.config, self._topology, self._connections, self._credentials)

    async def unserved(self) -> list[Unserved]:
        return await find_unserved(await self._reading(), self._topology, await self._nodes_away())

    async def replace(self, unserved: Sequence[Unserved]) -> list[str]:
        names = {queue.name for queue in unserved}
        return await replace(await self._reading(), self._topology, names, await self._nodes_away())

    async def _nodes_away(self) -> list[str]:
        """Nodes that do not run, as far as the management API tells."""
        with suppress(OSError, ValueError):
            nodes = await asyncio.to_thread(nodes_of, self.config, await self._credentials.current())
            return [node["name"] for node in nodes if not node.get("running", True)]
        return []

    def _on_trouble(self, text: str, recovered: bool) -> None:
        event = BrokerTrouble(at=unix_time(), source=self.consumer, text=text, recovered=recovered)
        self._chores.start(self.publish_events, [event])
