"""Whatever can happen to a few tasks in two slots, in every order: each lease ends exactly once, none is forgotten.

The table, the dispatcher and the slots are the real ones; children, time and the broker's answers are what the
exploration chooses. States that were seen before are not explored again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar, cast

import msgspec
import pytest

from ttg.backoff import Backoff
from ttg.brokers.base import BrokerConfig, Delivery
from ttg.brokers.memory import MemoryBroker, MemoryServer
from ttg.messages import Outcome, ResultHeader, RunRecord, RunStatus, Task
from ttg.space import grid, range_, space_to_json
from ttg.spec import FunctionRef, RunSpec
from ttg.worker.config import Summary
from ttg.worker.dispatcher import Dispatcher
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.leases import AHEAD_BYTES, HELD, MAX_UNSETTLED, MAX_UNSETTLED_BYTES, Lease, Leases, State
from ttg.worker.process import Exit
from ttg.worker.protocol import Announced, Execute, Ready, Refused, Report, SetUp, Setup, StopEarly
from ttg.worker.run_cache import KnownRun, RunCache
from ttg.worker.settler import Settler
from ttg.worker.slot import Phase, Slot

GONE = (State.SETTLED, State.RETURNED, State.LOST)
SPACE = space_to_json(grid(i=range_(0, 10)))

Event = tuple[str, int]


class StillLoop(asyncio.SelectorEventLoop):
    """No time passes: what is to happen later happens when the exploration says so."""

    def time(self) -> float:
        return 100.0

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return asyncio.TimerHandle(delay, callback, args, self, context)


class ScriptedChild:
    """A child that does nothing by itself; ``inbox`` is what it has not answered yet."""

    pid = 1

    def __init__(self) -> None:
        self.inbox: list[Setup | Execute] = []
        self.stopped: set[int] = set()
        self.loaded: set[str] = set()

    def send(self, message: Any, bulk: bytes = b"") -> None:
        if isinstance(message, StopEarly):
            self.stopped.update(message.numbers)
        elif isinstance(message, (Setup, Execute)):
            self.inbox.append(message)
        else:
            self.loaded.discard(message.run)

    def kill(self) -> None: ...

    def close(self) -> None: ...

    def printed(self) -> str:
        return ""

    def memory_bytes(self, limit: int | None = None) -> int:
        return 0

    def key(self) -> object:
        return (
            [(type(m), m.run) if isinstance(m, Setup) else (m.task.id, m.number in self.stopped) for m in self.inbox],
            sorted(self.loaded),
        )


def run_named(name: str) -> KnownRun:
    spec = RunSpec(name, FunctionRef("module", "m", "f"), SPACE, 10, ("i",))
    return KnownRun(spec, b"", RunRecord(run=name))


class Answer:
    """What the broker is asked, until it has answered."""

    def __await__(self) -> Iterator[None]:
        yield


class Runs:
    """What the worker knows of runs: one at once, the other when it asks after the exploration has published it."""

    def __init__(self) -> None:
        self.runs = {"known": run_named("known")}

    def is_stale(self, task: Task) -> bool:
        return False

    def known(self, task: Task) -> KnownRun | None:
        return self.runs.get(task.run) if task.run == "known" else None

    async def find(self, task: Task) -> KnownRun | None:
        await Answer()
        return self.runs.get(task.run)


class World:
    """A worker of two slots, to which ``tasks`` are leased; :meth:`possible` says what can happen to it."""

    def __init__(self, tasks: tuple[str, ...]) -> None:
        self.runs = Runs()
        self.leases = Leases(2)
        broker = MemoryBroker(BrokerConfig("memory://"), "w", MemoryServer())
        backoff, events = Backoff("w", lambda text, recovered: None), EventBuffer("w")
        settler = Settler(
            broker, backoff, self.leases, Summary("w", "h", "memory"), events, lambda moment, **data: None, lambda: None
        )
        self.dispatcher = Dispatcher(cast(RunCache, self.runs), backoff, events, self.leases, settler)
        self.children: dict[int, ScriptedChild] = {}
        self.draining = False
        self.slots = self.dispatcher.slots
        for number in range(2):
            self.slots.append(Slot(number, self.dispatcher, self.leases, self.spawn))
            self.slots[number].start()
        self.deliveries = [Delivery(Task(run, f"c{n}", ((2 * n, 2 * n + 2),)), None) for n, run in enumerate(tasks)]
        self.taken: list[Lease] = []
        self.asking: dict[str, Coroutine[Any, Any, None]] = {}
        self.completed: set[Lease] = set()
        self.gone: dict[int, State] = {}

    def spawn(self, owner: Any, number: int) -> ScriptedChild:
        assert not self.draining, "a draining worker starts no child"
        child = self.children[number] = ScriptedChild()
        return child

    # -- what can happen

    def possible(self) -> Iterator[Event]:
        if not self.draining:
            yield "drain", 0
            yield from self.possible_at_work()
        for number, lease in enumerate(self.taken):
            if lease.state in HELD:
                yield "lose", number
        if self.leases.has(State.COMPLETING):
            yield from (("settle", 0), ("settle", 1))
        for slot in self.slots:
            yield from ((event, slot.number) for event in self.possible_in(slot))

    def possible_at_work(self) -> Iterator[Event]:
        run = self.runs.runs["known"]
        if len(self.taken) < len(self.deliveries) and "take" not in self.asking:
            yield "lease", len(self.taken)
        if self.leases.has(State.PENDING) and "redispatch" not in self.asking:
            yield "redispatch", 0
        yield from (("answer", number) for number in range(len(self.asking)))
        if "later" not in self.runs.runs and any(lease.task.run == "later" for lease in self.taken):
            yield "publish", 0
        if self.leases.has(State.QUEUED):
            yield "overtake", 0
        if self.taken:
            yield ("run_over", 0) if run.is_active else ("forget", 0)

    def possible_in(self, slot: Slot) -> Iterator[str]:
        child = self.children[slot.number]
        if slot.child is None:
            if slot.phase is Phase.STARTING:
                yield "restart"
            return
        yield "die"
        if slot.phase is Phase.STARTING:
            yield "ready"
        elif child.inbox and isinstance(child.inbox[0], Setup):
            yield from ("set_up", "refuse")
        elif child.inbox:
            yield from ("announce", "report")

    # -- what happens

    def happen(self, event: Event) -> None:
        self.let(event)
        self.leases.check()
        self.check()

    def let(self, event: Event) -> None:
        getattr(self, event[0])(event[1])
        for lease in self.leases.in_state(State.COMPLETING):
            if lease not in self.completed:
                self.completed.add(lease)
                run = self.runs.runs.get(lease.task.run)
                assert lease.outcome
                assert not lease.outcome.header.ranges or (run and run.is_active), "rows of a run that is over"

    def lease(self, number: int) -> None:
        delivery = self.deliveries[number]
        self.ask("take", self.dispatcher.take([delivery]))
        (lease,) = self.leases.find([delivery]) or self.leases.batch(9, 9)[-1:]
        self.taken.append(lease)

    def redispatch(self, _: int) -> None:
        self.ask("redispatch", self.dispatcher.redispatch())

    def ask(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Go on with ``work`` until it is done, or asks the broker."""
        self.asking[name] = work
        try:
            work.send(None)
        except StopIteration:
            del self.asking[name]

    def answer(self, number: int) -> None:
        self.ask(*list(self.asking.items())[number])

    def publish(self, _: int) -> None:
        self.runs.runs["later"] = run_named("later")

    def overtake(self, _: int) -> None:
        self.dispatcher.give_back(self.leases.in_state(State.QUEUED))

    def run_over(self, _: int) -> None:
        run = self.runs.runs["known"]
        run.record = msgspec.structs.replace(run.record, status=RunStatus.FINISHED)

    def forget(self, _: int) -> None:
        self.dispatcher.forget(self.runs.runs["known"])

    def lose(self, number: int) -> None:
        self.dispatcher.lose([self.deliveries[number]])

    def settle(self, ours: int) -> None:
        (lease,) = self.leases.batch(1, 0)
        assert lease.outcome
        if lease.outcome.remainder or lease.outcome.header.ranges:  # else it was dropped
            lease.outcome.check_complete(lease.task)
        self.leases.settle(lease, bool(ours))
        assert lease.state is not State.LOST if ours else lease.state is State.LOST

    def drain(self, _: int = 0) -> None:
        self.draining = True
        for work in self.asking.values():
            work.close()
        self.asking = {}
        self.dispatcher.drain()

    def restart(self, slot: int) -> None:
        self.slots[slot].start()

    def ready(self, slot: int) -> None:
        self.slots[slot].on_message(Ready(), b"")
        assert not any(assignment.cancelled for assignment in self.leases.slots[slot].queue)

    def set_up(self, slot: int) -> None:
        setup = self.children[slot].inbox.pop(0)
        assert isinstance(setup, Setup)
        self.children[slot].loaded.add(setup.run)
        self.slots[slot].on_message(SetUp(setup.run), b"")

    def refuse(self, slot: int) -> None:
        setup = self.children[slot].inbox.pop(0)
        assert isinstance(setup, Setup)
        self.slots[slot].on_message(Refused(setup.run, "cannot be loaded"), b"")

    def announce(self, slot: int) -> None:
        first = self.children[slot].inbox[0]
        assert isinstance(first, Execute)
        self.slots[slot].on_message(Announced(first.number, 0, 1, 0.0), b"")

    def report(self, slot: int, payload: bytes = b"rows") -> None:
        child = self.children[slot]
        first = child.inbox.pop(0)
        assert isinstance(first, Execute)
        works = first.number not in child.stopped and first.task.life in child.loaded
        done, rest = (first.task.ranges, ()) if works else ((), first.task.ranges)
        self.slots[slot].on_message(Report(first.number, done, (), rest, 0.0, 0.0), payload if works else b"")

    def die(self, slot: int) -> None:
        self.slots[slot].on_exit(Exit(-9))

    # -- what must be

    def check(self) -> None:
        """What is not gone is renewed; what is gone stays gone, in one way; a child has what the table says."""
        held = {id(delivery) for delivery in self.leases.held()}
        for number, lease in enumerate(self.taken):
            assert (id(lease.delivery) in held) == (lease.state not in GONE)
            if lease.state in GONE:
                assert self.gone.setdefault(number, lease.state) is lease.state
        for slot in self.slots:
            if slot.phase is Phase.UP:
                inbox = [message.number for message in self.children[slot.number].inbox if isinstance(message, Execute)]
                assert [assignment.number for assignment in self.leases.slots[slot.number].queue] == inbox

    def conclude(self) -> None:
        """From here the worker drains, its children answer, and the broker too: nothing is left."""
        self.drain()
        for slot in self.slots:
            while answers := {"set_up", "report"}.intersection(self.possible_in(slot)):
                self.happen((answers.pop(), slot.number))
        assert not self.leases.has(State.RUNNING)
        self.drain()
        while self.leases.has(State.COMPLETING):
            self.happen(("settle", 1))
        assert {lease.state for lease in self.taken} <= set(GONE), [lease.state for lease in self.taken]
        assert len(self.gone) == len(self.taken)

    def key(self) -> str:
        """What the future depends on."""
        leases = [(lease.state, lease.dispatches, lease.returned) for lease in self.taken]
        slots = [
            (
                slot.phase,
                slot.child is not None and self.children[slot.number].key(),
                [(a.task.id, a.cancelled, a.count) for a in self.leases.slots[slot.number].queue],
                slot._loaded,
                slot._setup_deaths,
            )
            for slot in self.slots
        ]
        runs = [(name, run.record.status, run.refusal) for name, run in self.runs.runs.items()]
        waiting = [lease.task.id for lease in self.leases.in_state(State.COMPLETING)]
        return repr((leases, slots, runs, waiting, self.draining, list(self.asking)))


def explore(tasks: tuple[str, ...], depth: int, start: tuple[Event, ...] = ()) -> tuple[set[str], set[State]]:
    """Visit all states that up to ``depth`` events lead to after ``start``, and conclude from each.

    Returns which events happened, and where leases were."""
    seen: set[str] = set()
    events: set[str] = set()
    states: set[State] = set()
    paths = [start]
    while paths and depth >= 0:
        following: list[tuple[Event, ...]] = []
        for path in paths:
            world = replay(tasks, path)
            if (key := world.key()) in seen:
                continue
            seen.add(key)
            states.update(lease.state for lease in world.taken)
            following += ((*path, event) for event in world.possible())
            try:
                world.conclude()
            except AssertionError as error:
                raise AssertionError(f"{error}, after {path}") from error
        events.update(path[-1][0] for path in following)
        paths, depth = following, depth - 1
    return events, states


def replay(tasks: tuple[str, ...], path: tuple[Event, ...]) -> World:
    """The world after ``path``, of which all but the last event were judged before."""
    world = World(tasks)
    for event in path[:-1]:
        world.let(event)
    try:
        for event in path[-1:]:
            world.happen(event)
    except AssertionError as error:
        raise AssertionError(f"{error}, in the last of {path}") from error
    return world


T = TypeVar("T")


def run_still(work: Callable[[], T]) -> T:
    async def main() -> T:
        return work()

    with asyncio.Runner(loop_factory=StillLoop) as runner:
        return runner.run(main())


UP = (("ready", 0), ("ready", 1))
LEASED = (("lease", 0), ("lease", 1))
TO_THE_END = 99
AT_WORK = {"lose", "run_over", "forget", "drain", "settle", "overtake"}
OF_CHILDREN = {"ready", "set_up", "refuse", "announce", "report", "die", "restart"}


@pytest.mark.parametrize(
    ("tasks", "start", "depth", "expected"),
    [
        pytest.param(("known",), (), TO_THE_END, {"lease"} | AT_WORK | OF_CHILDREN, id="one task"),
        pytest.param(
            ("later",), (), 9, {"publish", "answer", "redispatch"} | OF_CHILDREN, id="one of a run that is known later"
        ),
        pytest.param(("known", "known"), UP + LEASED, 5, AT_WORK | OF_CHILDREN, id="two that are assigned"),
        pytest.param(("known", "later"), UP, 6, {"publish", "answer", "redispatch"}, id="two runs"),
        pytest.param(("known", "known", "known"), UP + LEASED, 4, {"lease"}, id="one behind another"),
    ],
)
def test_each_lease_ends_once_whatever_happens(
    tasks: tuple[str, ...], start: tuple[Event, ...], depth: int, expected: set[str]
) -> None:
    logging.disable(logging.CRITICAL)
    try:
        events, states = run_still(lambda: explore(tasks, depth, start))
    finally:
        logging.disable(logging.NOTSET)
    assert events >= expected
    assert states >= set(State) - ({State.PENDING} if "later" not in tasks else set())


def test_while_too_much_waits_to_be_settled_nothing_more_is_started() -> None:
    def story() -> None:
        world = World(("known", "known", "known"))
        for event in (*UP, *LEASED, ("lease", 2), ("set_up", 0), ("set_up", 1)):
            world.happen(event)
        first, _, behind = world.taken
        assert behind.state is State.QUEUED
        world.report(0, bytes(MAX_UNSETTLED_BYTES))
        world.leases.check()
        assert (first.state, behind.state, behind.returned) == (State.COMPLETING, State.COMPLETING, True)
        assert world.leases.room(100.0) == 0
        world.happen(("settle", 1))
        assert world.leases.room(100.0) > 0

    run_still(story)


def delivery_of(number: int, *, exclusive: bool = False) -> Delivery:
    return Delivery(Task("r", f"c{number}", ((number, number + 1),), exclusive=exclusive), None)


def complete(leases: Leases, lease: Lease) -> None:
    outcome = Outcome(ResultHeader("r", lease.task.id, (), 1, "w", 0, 0.0, 0.0))
    leases.complete(lease, outcome, returned=False)


def test_many_that_are_small_are_too_much_too() -> None:
    leases = Leases(1)
    for number in range(MAX_UNSETTLED):
        assert leases.room(0.0)
        complete(leases, leases.add(delivery_of(number)))
    assert leases.room(0.0) == 0


def test_what_is_fetched_ahead_is_bounded_by_the_bytes_of_its_rows() -> None:
    leases, run = Leases(2), run_named("r")
    run.speed = run.speed.after(10**6, 0.0)  # of these, many more would fit by their time
    rows = msgspec.Raw(bytes(AHEAD_BYTES // 4))
    for number in range(1, 5):
        assert leases.room(0.0) > 0
        carrying = Delivery(Task("r", f"c{number}", ((number, number + 1),), rows=rows), None)
        lease = leases.add(carrying)
        leases.assign(lease, run, number % 2)
    leases.check()
    assert leases.room(0.0) == 0
    for head in (leases.slots[0].queue[0], leases.slots[1].queue[0]):
        complete(leases, leases.find([head.delivery])[0])
    leases.check()
    assert leases.room(0.0) == 2


def test_however_large_its_rows_are_each_slot_gets_a_task() -> None:
    leases = Leases(2)
    leases.assign(
        leases.add(Delivery(Task("r", "c", ((0, 1),), rows=msgspec.Raw(bytes(AHEAD_BYTES))), None)), run_named("r"), 0
    )
    assert leases.room(0.0) == 1


def test_a_task_that_may_take_the_worker_along_is_its_only_one() -> None:
    leases = Leases(2)
    plain, exclusive, another = delivery_of(1), delivery_of(2, exclusive=True), delivery_of(3, exclusive=True)
    kept, declined = leases.admit([plain, exclusive, another])
    assert [lease.delivery for lease in kept] == [exclusive]
    assert [lease.delivery for lease in declined] == [plain, another]
    for lease in declined:
        complete(leases, lease)
        leases.settle(lease, True)
    leases.assign(kept[0], run_named("r"), 0)
    assert leases.room(0.0) == 0
    complete(leases, kept[0])
    leases.settle(kept[0], True)
    leases.pop(0)
    assert leases.room(0.0) > 0


def test_a_busy_worker_takes_no_such_task_and_becomes_idle_first() -> None:
    leases = Leases(2)
    (busy,), _ = leases.admit([delivery_of(1)])
    leases.assign(busy, run_named("r"), 0)
    assert leases.room(0.0) > 0
    kept, declined = leases.admit([delivery_of(2, exclusive=True)])
    assert not kept
    complete(leases, declined[0])
    leases.settle(declined[0], True)
    assert leases.room(0.0) == 0, "or it would get it again and again"
