"""Clients of the memory broker whose process can be killed, and which keep the accounts of the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from simulation.accounts import Accounts
from ttg.brokers.base import BrokerConfig, Delivery, Settlement
from ttg.brokers.memory import MemoryBroker, MemoryServer
from ttg.errors import BrokerUnavailable
from ttg.messages import AnyEvent, Task, TasksResubmitted


class SimulatedBroker(MemoryBroker):
    """A client whose process may have been killed: then it does not even say goodbye."""

    killed = False

    def __init__(self, config: BrokerConfig, consumer: str, server: MemoryServer, accounts: Accounts) -> None:
        super().__init__(config, consumer, server)
        self.accounts = accounts

    async def close(self) -> None:
        if not self.killed:
            await super().close()

    async def submit(self, tasks: Sequence[Task]) -> None:
        try:
            await super().submit(tasks)
        except (BrokerUnavailable, asyncio.CancelledError):
            self.accounts.submitted(tasks, excused=True)
            raise
        self.accounts.submitted(tasks)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        ours = await super().settle(settlements)
        self.accounts.settled(self.consumer, settlements, ours)
        return ours

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        lost = await super().renew(deliveries)
        self.accounts.lost(self.consumer, lost)
        return lost

    async def publish_events(self, events: Iterable[AnyEvent]) -> None:
        events = list(events)
        self.accounts.resubmissions += sum(isinstance(event, TasksResubmitted) for event in events)
        await super().publish_events(events)
