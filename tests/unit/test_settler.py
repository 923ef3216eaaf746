"""The settler on a real broker: how much it settles at once, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ttg.backoff import Backoff
from ttg.brokers.base import BrokerConfig
from ttg.brokers.memory import MemoryBroker, MemoryServer
from ttg.messages import RunRecord, RunStatus, Task
from ttg.space import grid, range_, space_to_json
from ttg.spec import FunctionRef, RunSpec
from ttg.worker.config import Summary
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.leases import Lease, Leases, State
from ttg.worker.outcome import Ended
from ttg.worker.run_cache import KnownRun
from ttg.worker.settler import Settler

SPACE = space_to_json(grid(i=range_(0, 1000)))
MIB = 1 << 20


class Stage:
    """A settler with as many leased tasks of one parameter as a test wants."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(BrokerConfig("memory://"), "w", MemoryServer())
        spec = RunSpec("r", FunctionRef("module", "m", "f"), SPACE, 1000, ("i",))
        self.run = KnownRun(spec, b"", RunRecord(run="r"))
        self.leases = Leases(1)
        self.changed = asyncio.Event()
        self.batches: list[list[Lease]] = []
        self.settler = Settler(
            self.broker,
            Backoff("w", lambda text, recovered: None),
            self.leases,
            Summary("w", "h", "memory"),
            EventBuffer("w"),
            self._observe,
            self.changed.set,
        )

    def _observe(self, moment: str, **data: Any) -> None:
        if moment == "before_settle":
            self.batches.append(data["batch"])

    async def lease(self, count: int) -> list[Lease]:
        await self.broker.open()
        await self.broker.submit([Task("r", f"c{i}", ((i, i + 1),)) for i in range(count)])
        return [self.leases.add(delivery) for delivery in await self.broker.lease(count, 0.0)]

    async def end(self, leases: Sequence[Lease], payload: bytes) -> None:
        """All end at once; returns when all are settled."""
        for lease in leases:
            self.settler.end(lease, self.run, Ended(lease.task.ranges, payload))
        settling = asyncio.create_task(self.settler.run())
        while self.leases.has(State.COMPLETING):
            self.changed.clear()
            await self.changed.wait()
        settling.cancel()
        self.leases.check()


async def test_no_more_bytes_are_settled_at_once_than_a_few_payloads() -> None:
    stage = Stage()
    leases = await stage.lease(7)
    await stage.end(leases, bytes(15 * MIB))
    assert [len(batch) for batch in stage.batches] == [2, 2, 2, 1]
    assert {lease.state for lease in leases} == {State.SETTLED}


async def test_a_payload_that_is_larger_than_a_batch_is_settled_by_itself() -> None:
    stage = Stage()
    await stage.end(await stage.lease(2), bytes(40 * MIB))
    assert [len(batch) for batch in stage.batches] == [1, 1]


async def test_small_ones_are_settled_many_at_a_time_but_not_all() -> None:
    stage = Stage()
    await stage.end(await stage.lease(300), b"rows")
    assert [len(batch) for batch in stage.batches] == [128, 128, 44]


async def test_tasks_of_a_run_that_is_over_leave_the_queue_and_no_rows() -> None:
    stage = Stage()
    leases = await stage.lease(2)
    stage.run.record = RunRecord(run="r", status=RunStatus.CANCELLED)
    await stage.end(leases, b"rows")

    assert (await stage.broker.stats()).queue("tasks").messages == 0
    assert [message for message in await stage.broker.read_results(None, 10, 0.0) if message.header.ranges] == []
    assert stage.settler.summary.parameters_processed == 0
