"""The real coordinator, the real workers and the memory broker in virtual time, and everything that can go wrong.

Killing is done as the kernel does it: from that moment on nothing the victim says reaches the broker or the disk.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulation.accounts import Accounts
from simulation.child import Poison, SimulatedChild
from simulation.clients import SimulatedBroker
from simulation.scenario import FAULTY_SECONDS, Fault, Kind, Scenario
from simulation.troubles import NEED_ROOM, Troubles
from simulation.virtual_time import VirtualLoop
from ttg.brokers.base import BrokerConfig
from ttg.brokers.memory import MemoryServer
from ttg.brokers.memory.server import Fate
from ttg.brokers.memory.state import Namespace
from ttg.clock import use_unix_time
from ttg.errors import MessageError, StorageError, TTGError
from ttg.messages import RunStatus, Task, decode, encode
from ttg.results.collector import Collector
from ttg.results.dataset import open_ledger
from ttg.results.folder import RunFolder
from ttg.run.config import CoordinatorConfig
from ttg.run.coordinator import Coordinator
from ttg.space import grid, range_, space_to_json
from ttg.spec import FunctionRef, Limits, RetryPolicy, RunSpec
from ttg.worker.config import Reason, WorkerConfig
from ttg.worker.process import ChildOwner
from ttg.worker.supervisor import Worker

LEASE_SECONDS = 2.0
REPLACED_AFTER_SECONDS = 0.2
GIVE_UP_SECONDS = 120.0
EPOCH = 1_700_000_000.0
RUN = "simulated"
TROUBLES = {Kind.STALL, Kind.REPLACE_LOG, Kind.FAILOVER, Kind.READ_ONLY, Kind.REFUSED, Kind.REDELIVER}


@dataclass(eq=False)
class Member:
    """A worker that was started, and its children."""

    name: str
    broker: SimulatedBroker
    children: list[SimulatedChild] = field(default_factory=list)
    worker: Worker | None = None
    task: asyncio.Task[Any] | None = None


class World:
    """One simulated run. :meth:`run` returns when the coordinator says it is finished."""

    def __init__(self, scenario: Scenario, path: Path, loop: VirtualLoop) -> None:
        self.scenario = scenario
        self.path = path
        self.loop = loop
        self.draw = random.Random(scenario.seed + 1)
        self.server = MemoryServer()
        self.server.travel, self.server.fate = self._travel, self._decide
        self.config = BrokerConfig("memory://simulation", lease_seconds=LEASE_SECONDS)
        self._troubles = Troubles(self.server, self.config.namespace)
        self.members: dict[str, Member] = {}
        self.coordinator: Coordinator | None = None
        self.coordinators = 0
        self.trace: list[str] = []
        self._killed: set[str] = set()
        self._frozen: dict[str, asyncio.Event] = {}
        self._until = dict.fromkeys((Kind.FULL, Kind.SLOW, Kind.LOSSY, Kind.DISK_FULL), 0.0)
        self._lives: Counter[str] = Counter()
        self._calls: Counter[int] = Counter()
        self._workers = 0
        self._clock_error = 0.0
        self.losses = 0
        self.accounts = Accounts(scenario)
        self._hired: list[Member] = []
        self._over = False
        self._coordinating: asyncio.Task[str] | None = None
        self._background: set[asyncio.Task[None]] = set()
        loop.in_thread = self._use_disk

    # -- the story

    async def run(self) -> None:
        """From the start to the end of the run, whatever happens on the way."""
        use_unix_time(lambda: EPOCH + self.loop.time() + self._clock_error)
        self.spec = self.specification()
        RunFolder.create(self.path, self.spec)
        for fault in self.scenario.faults:
            if not fault.moment:
                self._start(self._strike_later(fault))
        self._start(self.keep_staff())
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await self._coordinate()
        finally:
            await self.go_home()
            use_unix_time()

    def specification(self) -> RunSpec:
        size = self.scenario.size
        return RunSpec(
            RUN,
            FunctionRef("module", "simulated", "f"),
            space_to_json(grid(i=range_(0, size))),
            size,
            ("i",),
            retry=RetryPolicy(max_retries=2, delay_ms=200),
            limits=Limits(timeout_seconds=1.0),
            identity="a1b2c3d4",
        )

    def note(self, text: str) -> None:
        """A line of the story."""
        self.trace.append(f"{self.loop.time():9.4f} {text}")

    def _start(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._background.add(task)

    async def go_home(self) -> None:
        self._over = True
        for task in self._background:
            task.cancel()
        for ended in await asyncio.gather(*self._background, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended  # a misfortune that did not happen tests nothing
        for name in list(self.members):
            self.kill_worker(name)
        await asyncio.gather(*(member.task for member in self._hired if member.task), return_exceptions=True)

    # -- the coordinator

    async def _coordinate(self) -> None:
        while True:
            name = f"coordinator-{self.coordinators}"
            self._coordinating = self.loop.create_task(self._coordinate_once(name))
            try:
                status = await self._coordinating
            except TTGError as error:
                status = f"gave up: {error}"
            except asyncio.CancelledError:
                if name not in self._killed:
                    raise
                status = "gone"
            self.note(f"{name}: {status}")
            if status.startswith("finished"):
                return
            self.coordinators += 1
            await asyncio.sleep(0.1)

    async def _coordinate_once(self, name: str) -> str:
        folder = RunFolder.open(self.path)
        with folder.lock():
            space = grid(i=range_(0, self.scenario.size))
            collector = Collector(folder, self.spec, space, open_ledger(folder))
            broker = SimulatedBroker(self.config, name, self.server, self.accounts)
            self.accounts.coordinators += 1
            self.coordinator = Coordinator(
                self.spec, space, collector, broker, self._options(), epoch=self.coordinators + 1
            )
            try:
                status = await self.coordinator.run()
                collector.ledger.check()
                collector.finalise()
                return status
            except TTGError as error:
                if self.coordinator.leadership.record.revision and name not in self._killed:
                    self.accounts.gave_up(name, error)
                raise
            finally:
                self.coordinator = None

    def _options(self) -> CoordinatorConfig:
        return CoordinatorConfig(
            chunk_size=self.scenario.chunk_size,
            keep_result_bytes=self.scenario.keep_result_bytes,
            lost_after_seconds=2.0,
            expected_slots=self.scenario.workers * self.scenario.slots,
        )

    def kill_coordinator(self) -> None:
        """SIGKILL; a half-written file may stay behind."""
        if self.coordinator is None or self._coordinating is None:
            return
        name = self.coordinator.broker.consumer
        self.accounts.struck.add(Kind.KILL_COORDINATOR)
        self._reclaim_dead(name, self.coordinator.broker)
        self.coordinator.stop(RunStatus.FAILED)
        self._coordinating.cancel()
        if self.draw.random() < 0.5:
            (self.path / "results" / "part-000099.parquet.tmp").write_bytes(b"PAR1 half of a")

    async def _use_disk(self, work: Callable[[], Any]) -> Any:
        """What a thread of the coordinator does."""
        name = f"coordinator-{self.coordinators}"
        await asyncio.sleep(self.draw.choice((0.0, 0.02)))
        self._live_through("write")
        if self._is(Kind.DISK_FULL):
            raise StorageError("no space left (simulated)")
        if name in self._killed:
            raise StorageError("killed before it could write")
        result = work()
        self._live_through("written")
        await asyncio.sleep(self.draw.choice((0.0, 0.02)))
        if name in self._killed:
            raise StorageError("killed after it wrote")
        return result

    # -- the workers

    async def keep_staff(self) -> None:
        """Dead workers are replaced, as a cluster does."""
        while True:
            while len(self.members) < self.scenario.workers:
                self._hire()
            await asyncio.sleep(REPLACED_AFTER_SECONDS)

    def _hire(self) -> None:
        self._workers += 1
        name = f"worker-{self._workers}"
        member = self.members[name] = Member(name, SimulatedBroker(self.config, name, self.server, self.accounts))
        self._hired.append(member)
        config = WorkerConfig(name, slots=self.scenario.slots, allow=("*",), host="simulated", grace_seconds=1.0)

        def spawn(owner: ChildOwner, number: int) -> SimulatedChild:
            story = self.scenario
            child = SimulatedChild(
                owner,
                self,
                len(member.children) + 1,
                story.slice_size,
                story.start_seconds,
                lambda: self.kill_worker(name),
                name,
            )
            member.children.append(child)
            return child

        def observe(moment: str, **data: Any) -> None:
            self._live_through(moment, name)

        member.worker = Worker(member.broker, config, spawn=spawn, observer=observe)
        member.task = self.loop.create_task(member.worker.run(), name=name)
        member.task.add_done_callback(lambda task: self._on_left(member))

    def _on_left(self, member: Member) -> None:
        self.members.pop(member.name, None)
        assert member.worker is not None
        gave_up = member.worker.summary.status == Reason.GAVE_UP.value and member.name not in self._killed
        if gave_up and member.worker.backoff.was_well:
            self.accounts.gave_up(member.name, "see its log")

    def kill_worker(self, name: str) -> None:
        """SIGKILL to a worker; its children die with it."""
        self.losses += 1
        member = self.members.pop(name, None)
        if member is None or member.task is None:
            return
        if not self._over:
            self.accounts.worker_died(name)
        self._reclaim_dead(name, member.broker)
        for child in member.children:
            child.kill()
        member.task.cancel()

    def _reclaim_dead(self, name: str, broker: Any) -> None:
        self.note(f"{name} is killed")
        self._killed.add(name)
        broker.killed = True
        self._thaw(name)
        self.server.drop_connection(name)

    def call_begins(self, index: int, task: str, child: SimulatedChild) -> float:
        self.accounts.began(index, child.worker, task, child)
        return self.scenario.call_seconds

    def reported(self, child: SimulatedChild) -> None:
        self.accounts.reported(child)

    def child_ends(self, child: SimulatedChild) -> None:
        if not self._over:
            self.accounts.child_died(child)

    def poison(self, index: int) -> Poison | None:
        self._calls[index] += 1
        poison = self.scenario.poisons.get(index)
        return None if poison is Poison.FAILS_ONCE and self._calls[index] > 1 else poison

    # -- the network and the broker

    async def _travel(self, consumer: str) -> None:
        while (ice := self._frozen.get(consumer)) is not None:
            await ice.wait()
        most = 1.0 if self._is(Kind.SLOW) else self.scenario.travel_seconds
        await asyncio.sleep(self.draw.uniform(0.0, most) if most else 0.0)

    def _decide(self, consumer: str, verb: str) -> Fate:
        self._live_through(verb, consumer)
        if consumer in self._killed:
            return Fate.REQUEST_LOST
        if self._is(Kind.FULL) and verb in NEED_ROOM:
            return Fate.FULL
        if (trouble := self._troubles.fate(verb, self.loop.time())) is not Fate.DONE:
            return trouble
        self._live_through(f"{verb}!", consumer)
        if consumer in self._killed or self._is_lost():
            self.losses += 1
            self.accounts.struck.add(Kind.LOSSY)
            return self.draw.choice((Fate.REQUEST_LOST, Fate.REPLY_LOST))
        return Fate.DONE

    def _is_lost(self) -> bool:
        if self.loop.time() > FAULTY_SECONDS:
            return False
        return self.draw.random() < (0.3 if self._is(Kind.LOSSY) else self.scenario.loss)

    def _is(self, kind: Kind) -> bool:
        return self.loop.time() < self._until[kind]

    # -- misfortunes

    def _live_through(self, moment: str, name: str = "") -> None:
        """A named moment in somebody's life; perhaps the last one."""
        self._lives[moment] += 1
        for fault in self.scenario.faults:
            if fault.moment == moment and fault.count == self._lives[moment] and not self._over:
                self.accounts.struck.add(fault.kind)
                self._kill_at_a_moment(fault, name)

    def _kill_at_a_moment(self, fault: Fault, name: str) -> None:
        if fault.kind is Kind.KILL_COORDINATOR:
            self.kill_coordinator()
        else:
            self.kill_worker(name)

    async def _strike_later(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        self.note(str(fault))
        await self._strike(fault)

    async def _strike(self, fault: Fault) -> None:
        kind, member = fault.kind, self._picked(fault)
        self.accounts.struck.add(kind)
        if kind in self._until:
            self._until[kind] = self.loop.time() + fault.seconds
        elif kind is Kind.KILL_COORDINATOR:
            self.kill_coordinator()
        elif kind is Kind.STOP_COORDINATOR and self.coordinator is not None:
            self.coordinator.stop()
        elif kind is Kind.DROP_CONNECTION:
            self._drop_a_connection(fault)
        elif kind is Kind.STOP_BROKER:
            await self._stop_broker(fault.seconds)
        elif kind is Kind.LOSE_EVERYTHING:
            self.server.lose_everything()
        elif kind is Kind.GARBAGE:
            self._strew_garbage(self.server.namespace(self.config.namespace))
        elif kind is Kind.REPLAY:
            self._replay(self.server.namespace(self.config.namespace))
        elif kind is Kind.CLOCK_JUMP:
            self._clock_error += 3600.0 if fault.pick < 0.5 else -3600.0
        elif kind in TROUBLES:
            self.losses += kind is Kind.FAILOVER
            await self._troubles.strike(fault, member.name if member else "", self.loop.time())
        elif member is not None:
            await self._strike_worker(kind, member, fault.seconds)

    async def _strike_worker(self, kind: Kind, member: Member, seconds: float) -> None:
        if kind is Kind.KILL_WORKER:
            self.kill_worker(member.name)
        elif kind is Kind.RETIRE_WORKER and member.worker is not None:
            member.worker.request_stop()
        elif kind is Kind.KILL_CHILD and member.children:
            member.children[-1].kill()
        elif kind is Kind.FREEZE_WORKER:
            self.losses += 1
            self._frozen.setdefault(member.name, asyncio.Event())
            await asyncio.sleep(seconds)
            self._thaw(member.name)

    def _picked(self, fault: Fault) -> Member | None:
        members = list(self.members.values())
        return members[int(fault.pick * len(members))] if members else None

    def _thaw(self, name: str) -> None:
        if ice := self._frozen.pop(name, None):
            ice.set()

    def _drop_a_connection(self, fault: Fault) -> None:
        names = [*self.members, f"coordinator-{self.coordinators}"]
        self.losses += 1
        self.server.drop_connection(names[int(fault.pick * len(names))])

    async def _stop_broker(self, seconds: float) -> None:
        self.losses += len(self.members)
        self.server.stop()
        await asyncio.sleep(seconds)
        self.server.start()

    def _strew_garbage(self, here: Namespace) -> None:
        for body in (b"", b"\xff\x00", b'{"run":"simulated","id":"x","ranges":[[5,1]]}', b"[" * 2000):
            here.add_task(body)
            here.results.append(body, RUN, body)
            here.events.append(body)
            here.letters.append(body, RUN)
        self._put_task(here, encode(Task("nobody", "c1", ((0, 3),))))
        self._put_task(here, encode(Task(RUN, "far", ((10**6, 10**6 + 3),))))

    def _replay(self, here: Namespace) -> None:
        for entry in list(here.results.entries):
            here.results.append(entry.body, entry.identity, entry.payload)
        for body in [task.body for task in here.tasks.values()]:
            self._put_task(here, body)
        self._put_task(here, encode(Task(RUN, "again", ((0, self.scenario.size),))))

    def _put_task(self, here: Namespace, body: bytes) -> None:
        here.add_task(body)
        with suppress(MessageError):
            self.accounts.submitted([decode(body, Task)], excused=True)
