"""A worker in this process, with real children, on the memory broker: what the worker's process tests stand on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttg.brokers.base import BrokerConfig
from ttg.brokers.memory import MemoryBroker, MemoryServer
from ttg.clock import unix_time
from ttg.function import function_from_text
from ttg.messages import DeadLetter, RunRecord, RunStatus, Task, indices_of
from ttg.results.encode import decode_payload
from ttg.space import grid, range_, space_to_json
from ttg.spec import Limits, RetryPolicy, RunSpec, encode_spec, fingerprint
from ttg.worker.config import Summary, WorkerConfig
from ttg.worker.supervisor import Worker

WORKLOADS = Path(__file__).with_name("crash_workloads.py")
PATIENCE_SECONDS = 60.0
RUN = "run"


def spec_for(function: str, size: int, **policies: Any) -> RunSpec:
    """A run of ``crash_workloads.py:function`` over ``i`` from 0 to ``size``."""
    policies = {"retry": RetryPolicy(max_retries=1, delay_ms=20), "limits": Limits(), **policies}
    target = function_from_text(f"{WORKLOADS}:{function}", ("i",))
    return RunSpec(RUN, target, space_to_json(grid(i=range_(0, size))), size, ("i",), **policies)


@dataclass
class Settled:
    """What the results log says, parameter by parameter."""

    values: dict[int, Any] = field(default_factory=dict)
    dead: dict[int, DeadLetter] = field(default_factory=dict)
    times: Counter[int] = field(default_factory=Counter)
    tasks: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.values) + len(self.dead)


@dataclass
class Stage:
    """One memory server with one run, and as many workers as a test likes."""

    spec: RunSpec
    server: MemoryServer = field(default_factory=MemoryServer)
    moments: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    settled: Settled = field(default_factory=Settled)
    _cursor: str | None = None

    def __post_init__(self) -> None:
        self.config = BrokerConfig("memory://stage", lease_seconds=3.0)
        self.broker = MemoryBroker(self.config, "stage", self.server)
        self.noticed = asyncio.Event()

    async def publish(self, status: RunStatus = RunStatus.ACTIVE) -> None:
        """Make the run's record say so."""
        spec = self.spec
        facts = {"identity": spec.identity, "fingerprint": fingerprint(spec), "renewed": unix_time()}
        record = RunRecord(run=spec.run, status=status, **facts)
        await self.broker.change_run(spec.run, lambda current: record, encode_spec(spec))

    async def open(self, tasks: Sequence[Task] | None = None) -> None:
        await self.broker.open()
        await self.publish()
        await self.broker.submit(tasks or [Task(self.spec.run, "c1", ((0, self.spec.size),))])

    def worker(self, name: str = "w", **config: Any) -> Worker:
        settings = WorkerConfig(name=name, **{"allow": ("*",), **config})
        return Worker(MemoryBroker(self.config, name, self.server), settings, observer=self._observe)

    def _observe(self, moment: str, **data: Any) -> None:
        self.moments.append((moment, data))
        self.noticed.set()

    async def moment(self, name: str, count: int = 1) -> dict[str, Any]:
        """Wait until the moment ``name`` has come ``count`` times; its data."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found := [data for moment, data in self.moments if moment == name]) < count:
                self.noticed.clear()
                await self.noticed.wait()
        return found[count - 1]

    async def read_until_settled(self) -> Settled:
        """Read the results log until every parameter is there."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.settled.count < self.spec.size:
                    await self.read_some(1.0)
        except TimeoutError:
            raise AssertionError(f"{self.settled.count} of {self.spec.size} settled; {self.moments[-10:]}") from None
        return self.settled

    async def read_some(self, wait_seconds: float = 0.0) -> None:
        for message in await self.broker.read_results(self._cursor, 1000, wait_seconds):
            self._cursor = message.cursor
            self._take(message.header, message.payload)

    def _take(self, header: Any, payload: bytes) -> None:
        self.settled.tasks.append(header.task)
        values = decode_payload(payload).column("result").to_pylist() if payload else []
        for index, value in zip(indices_of(header.ranges), values, strict=True):
            self.settled.values[index] = value
            self.settled.times[index] += 1
        for letter in header.dead:
            self.settled.dead[letter.index] = letter
            self.settled.times[letter.index] += 1

    async def run_to_end(self, **config: Any) -> tuple[Settled, Summary]:
        """Open, run one worker until everything is settled, and stop it."""
        await self.open()
        worker = self.worker(**config)
        working = asyncio.create_task(worker.run())
        reading = asyncio.create_task(self.read_until_settled())
        await asyncio.wait({working, reading}, return_when=asyncio.FIRST_COMPLETED)
        worker.request_stop()
        return await reading, await working

    async def events(self) -> list[Any]:
        return [event for _, event in await self.broker.read_events(None, 10_000, 0.0)]
