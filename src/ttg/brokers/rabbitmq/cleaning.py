"""Taking messages out of queues by whose they are, and queues out of the broker by their exact names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ttg.brokers.rabbitmq import encoding
from ttg.brokers.rabbitmq.connection import QueueBusy
from ttg.brokers.rabbitmq.management import Management
from ttg.brokers.rabbitmq.pool import Connections
from ttg.brokers.rabbitmq.rotation import LARGEST_PREFETCH, TURN_SECONDS, Seen, peek, rotate, turn
from ttg.brokers.rabbitmq.run_log import RunRegistry
from ttg.brokers.rabbitmq.sending import Sender
from ttg.brokers.rabbitmq.topology import Topology, delete_queue
from ttg.messages import RunRecord

MOST_TURNS = 500

T = TypeVar("T")


class Cleaner:
    """One client's way to look through queues; one client at a time does."""

    def __init__(
        self,
        connections: Connections,
        topology: Topology,
        sender: Sender,
        runs: RunRegistry,
        management: Management,
    ) -> None:
        self._connections = connections
        self._topology = topology
        self._sender = sender
        self._runs = runs
        self._management = management
        self._mine = asyncio.Lock()

    async def take_dead_letters(self, identity: str, indices: set[int]) -> int:
        """Remove the letters of these indices of a run; returns how many."""

        def is_unwanted(seen: Seen) -> bool:
            is_ours = seen.kind == "dead letter" and seen.headers.get("identity") == identity
            return is_ours and seen.headers.get("index") in indices

        return await self._rotate(self._topology.names.dlq, is_unwanted)

    async def purge_run(self, record: RunRecord, *, dry_run: bool) -> dict[str, int]:
        """Count, and unless it is a dry run remove, the messages of one run in the work queues."""

        def is_ours(seen: Seen) -> bool:
            return encoding.identity_of(seen.kind, seen) == record.identity

        names, counts = self._topology.names, {}
        for queue in (names.tasks, *self._topology.retry_queues, names.dlq):
            if dry_run:
                connection = await self._connections.get("read")
                counts[queue] = len(await peek(connection, queue, is_ours, limit=LARGEST_PREFETCH))
            else:
                counts[queue] = await self._rotate(queue, is_ours)
        return counts

    async def purge_namespace(self, *, dry_run: bool) -> dict[str, int]:
        """Count, and unless it is a dry run delete, every queue of ours. Those of what clients hold for long are known
        to the management API only; where it cannot be asked they leave by themselves."""
        connection = await self._connections.get("publish")
        existing = await self._topology.check(connection)
        if self._topology.names.runs in existing:
            await self._adopt_retry_queues()
        streams = await self._topology.stream_lengths(connection)
        prefix = self._topology.names.held("")
        held = [name for name in await self._management.queues() if name.startswith(prefix)]
        lengths = await self._topology.work_lengths(connection, held)
        lengths |= {name: figures for name, figures in streams.items() if name in existing}
        if not dry_run:
            for queue in lengths:
                await delete_queue(connection, queue)
            self._sender.reset()
            self._runs.detach()
        return {queue: length for queue, (length, _) in lengths.items()}

    async def _adopt_retry_queues(self) -> None:
        """Learn the retry queues of other clients' runs, from the runs' records."""
        for record in (await self._runs.records()).values():
            if record.retry_delay_ms:
                await self._topology.adopt(await self._connections.get("read"), record.retry_delay_ms)

    async def _rotate(self, queue: str, is_unwanted: Callable[[Seen], bool]) -> int:
        async def pass_through() -> int:
            return await rotate(await self._connections.get("read"), queue, is_unwanted, self._sender.publish)

        return await self._in_turn(pass_through)

    async def _in_turn(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """``attempt``, which looks through a queue, while nobody else does."""
        async with self._mine:
            for _ in range(MOST_TURNS):
                try:
                    return await self._sender.with_queues(lambda: self._take_turn(attempt))
                except QueueBusy:
                    await asyncio.sleep(TURN_SECONDS)
            return await self._sender.with_queues(lambda: self._take_turn(attempt))

    async def _take_turn(self, attempt: Callable[[], Awaitable[T]]) -> T:
        async with turn(await self._connections.get("read"), self._topology.names.dlq):
            return await attempt()
