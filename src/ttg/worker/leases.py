"""Where each task of this worker is: one table of its leases, and everything that can become of one. Pure.

::

    add ──▶ PENDING ── assign ──▶ QUEUED ─── begin ───▶ RUNNING       from each of these three:
                                    │ ◀─── child_gone ──── │            complete ──▶ COMPLETING
                                                                        lose ──────▶ LOST

    COMPLETING ── settle ──▶ SETTLED, or RETURNED, or LOST (the broker says: not yours)

PENDING: its run is not known yet. QUEUED: bound to an assignment of a slot. RUNNING: that assignment is the head of its
slot, and a child executes it. COMPLETING: its outcome waits to be settled. Settled with an outcome that gives it back
untouched, it is RETURNED.

A child answers its assignments in order and can skip none. When a lease leaves QUEUED or RUNNING before the child has
answered, the assignment stays where it is, *cancelled*; only a cancelled assignment can be removed. So nothing that the
broker waits for can be forgotten, and no answer can be settled twice.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count

from ttg.brokers.base import Delivery
from ttg.messages import Failure, Outcome, Task
from ttg.messages.rows import size_of
from ttg.worker.assignments import Assignment, Assignments
from ttg.worker.run_cache import KnownRun

MAX_UNSETTLED, MAX_UNSETTLED_BYTES = 1024, 64 << 20
AHEAD_BYTES = 32 << 20
"""Rows of tasks that a worker holds; more only where a slot would have nothing to do."""


class State(enum.Enum):
    """Where a lease is."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETING = "completing"
    SETTLED = "settled"
    RETURNED = "returned"
    LOST = "lost"

    __hash__ = object.__hash__  # the table looks states up for every task, and that of Enum is slow


# Before Python 3.12 State.PENDING calls a Python function; they are looked up several times for every task.
PENDING, QUEUED, RUNNING, COMPLETING, SETTLED, RETURNED, LOST = State

ASSIGNED = (QUEUED, RUNNING)
UNFINISHED = (PENDING, *ASSIGNED)
HELD = (*UNFINISHED, COMPLETING)


@dataclass(eq=False, slots=True)
class Lease:
    """A leased task. ``dispatches`` counts how often it was asked what to do with it; ``returned``: its outcome gives
    the task back untouched."""

    delivery: Delivery
    state: State = PENDING
    dispatches: int = 0
    assignment: Assignment | None = None
    outcome: Outcome | None = None
    failures: Sequence[Failure] = ()
    returned: bool = False

    @property
    def task(self) -> Task:
        """The task that was leased."""
        return self.delivery.task

    @property
    def rows_bytes(self) -> int:
        """What the rows that it carries take in memory."""
        return size_of(self.task.rows) if self.task.rows else 0

    @property
    def payload_bytes(self) -> int:
        """What its outcome takes in memory."""
        return len(self.outcome.payload) if self.outcome else 0


class Leases:
    """See the module's text. A transition asserts that it is allowed; :meth:`check` asserts what always holds."""

    def __init__(self, slots: int) -> None:
        self.slots = [Assignments() for _ in range(slots)]
        self.unsettled_bytes = self.rows_bytes = 0
        self._in: dict[State, dict[Delivery, Lease]] = {state: {} for state in HELD}
        self._numbers = count(1)
        self._exclusive = False

    # -- transitions

    def add(self, delivery: Delivery) -> Lease:
        """The broker handed out a task."""
        lease = self._in[PENDING][delivery] = Lease(delivery)
        self.rows_bytes += lease.rows_bytes
        return lease

    def assign(self, lease: Lease, run: KnownRun, slot: int) -> Assignment:
        """A slot is to execute it."""
        self._move(lease, QUEUED, PENDING)
        lease.assignment = Assignment(lease.delivery, run, slot, next(self._numbers))
        self.slots[slot].append(lease.assignment)
        return lease.assignment

    def begin(self, slot: int, now: float, unix_now: float) -> Assignment:
        """The slot's child executes its head from now on."""
        head = self.slots[slot].begin(now, unix_now)
        lease = None if head.cancelled else self._in[QUEUED].get(head.delivery)
        if lease:
            self._move(lease, RUNNING, QUEUED)
        return head

    def complete(self, lease: Lease, outcome: Outcome, failures: Sequence[Failure] = (), *, returned: bool) -> None:
        """It is known what became of it."""
        self._move(lease, COMPLETING, *UNFINISHED)
        lease.outcome, lease.failures, lease.returned = outcome, failures, returned
        self.unsettled_bytes += lease.payload_bytes

    def settle(self, lease: Lease, ours: bool) -> None:
        """The broker recorded the outcome, or says that the task is not ``ours`` any more."""
        end = RETURNED if lease.returned else SETTLED
        self._move(lease, end if ours else LOST, COMPLETING)
        self.unsettled_bytes -= lease.payload_bytes

    def lose(self, lease: Lease) -> None:
        """Somebody else has it now. A completing one is left to the broker's answer when it is settled."""
        self._move(lease, LOST, *UNFINISHED)

    def pop(self, slot: int) -> Assignment:
        """The slot's child is done with its head."""
        head = self.slots[slot].head
        assert head is None or head.cancelled, "the head of a slot leaves it when its lease has left it"
        return self.slots[slot].pop()

    def child_gone(self, slot: int) -> None:
        """The child died. If its head is not given up for that, it waits for the next child, as do those behind it."""
        head = self.slots[slot].head
        lease = self.of(head) if head else None
        if lease and lease.state is RUNNING:
            self._move(lease, QUEUED, RUNNING)

    def _move(self, lease: Lease, to: State, *allowed: State) -> None:
        assert lease.state in allowed, f"a lease that is {lease.state.value} does not become {to.value}"
        del self._in[lease.state][lease.delivery]
        if lease.state in UNFINISHED and to not in UNFINISHED:
            self.rows_bytes -= lease.rows_bytes
        lease.state = to
        if to in HELD:
            self._in[to][lease.delivery] = lease
        if to not in ASSIGNED and lease.assignment:
            lease.assignment.cancelled, lease.assignment = True, None

    # -- who is where

    def of(self, assignment: Assignment) -> Lease | None:
        """The lease that is bound to an assignment; ``None`` once it is cancelled."""
        if assignment.cancelled:
            return None
        delivery = assignment.delivery
        return self._in[RUNNING].get(delivery) or self._in[QUEUED].get(delivery)

    def find(self, deliveries: Iterable[Delivery]) -> list[Lease]:
        """Those of ``deliveries`` that are held and not finished."""
        leases = [self._in[state].get(delivery) for delivery in deliveries for state in UNFINISHED]
        return [lease for lease in leases if lease]

    def in_state(self, *states: State) -> list[Lease]:
        """The leases in these states, oldest first."""
        return [*chain(*(self._in[state].values() for state in states))]

    def has(self, *states: State) -> bool:
        """Whether a lease is in one of these states."""
        return any(self._in[state] for state in states)

    def of_run(self, run: KnownRun) -> list[Lease]:
        """Those that slots have of ``run``."""
        leases = self.in_state(*ASSIGNED)
        return [lease for lease in leases if lease.assignment and lease.assignment.run is run]

    def overtaken(self, now: float) -> list[Lease]:
        """Those that wait behind a head that takes much longer than expected: others could have them."""
        late = {number for number, slot in enumerate(self.slots) if slot.is_overdue(now)}
        queued = self.in_state(QUEUED) if late else []
        return [lease for lease in queued if lease.assignment and lease.assignment.slot in late]

    def held(self) -> list[Delivery]:
        """Everything that has to be renewed."""
        return [lease.delivery for lease in self.in_state(*HELD)]

    @property
    def is_idle(self) -> bool:
        """Nothing is held, and no child executes anything."""
        return not self.has(*HELD) and not any(slot.queue for slot in self.slots)

    # -- how much

    def admit(self, deliveries: Sequence[Delivery]) -> tuple[list[Lease], list[Lease]]:
        """Add what was leased; returns what to dispatch and what to give back.

        A task that may take the worker along is taken by an idle worker only, as its only one. Then nothing more is
        leased until the worker is idle again.
        """
        idle = self.is_idle
        leases = [self.add(delivery) for delivery in deliveries]
        exclusive = [lease for lease in leases if lease.task.exclusive]
        self._exclusive = bool(exclusive)
        if not exclusive:
            return leases, []
        kept = exclusive[:1] if idle else []
        return kept, [lease for lease in leases if lease not in kept]

    def room(self, now: float) -> int:
        """How many tasks to lease; none while as much is completing as may be."""
        pending = len(self._in[PENDING])
        full = self.unsettled_bytes >= MAX_UNSETTLED_BYTES or len(self._in[COMPLETING]) >= MAX_UNSETTLED
        if full or pending >= len(self.slots) or (self._exclusive and not self.is_idle):
            return 0
        room = sum(slot.room(now) for slot in self.slots)
        return min(room, self._fitting()) if self.rows_bytes else room

    def _fitting(self) -> int:
        """How many more tasks carry no more than :data:`AHEAD_BYTES` with those held, if they are like these."""
        mean = self.rows_bytes / sum(len(self._in[state]) for state in UNFINISHED)
        return max(int((AHEAD_BYTES - self.rows_bytes) / mean), sum(not slot.queue for slot in self.slots))

    def room_in(self, now: float) -> float:
        """In how many seconds there may be room."""
        return min(slot.room_in(now) for slot in self.slots)

    def next_slot(self, now: float) -> int:
        """The slot that will be done first."""
        slots = self.slots
        return min(range(len(slots)), key=lambda slot: (slots[slot].backlog_seconds(now), len(slots[slot].queue)))

    def batch(self, most: int, most_bytes: int) -> list[Lease]:
        """The oldest that wait to be settled: at most so many, and so many bytes of payload unless it is one."""
        batch: list[Lease] = []
        size = 0
        for lease in self._in[COMPLETING].values():
            size += lease.payload_bytes
            if batch and (len(batch) >= most or size > most_bytes):
                break
            batch.append(lease)
        return batch

    # -- what always holds

    def check(self) -> None:
        """Assert the invariants."""
        for state, leases in self._in.items():
            for delivery, lease in leases.items():
                assert (lease.state, lease.delivery) == (state, delivery)
                assert (lease.assignment is not None) == (state in ASSIGNED)
                assert (lease.outcome is not None) == (state is COMPLETING)
        waiting = [lease.assignment for lease in self.in_state(*ASSIGNED)]
        assignments = [*chain(*(slot.queue for slot in self.slots))]
        assert {id(a) for a in waiting} == {id(a) for a in assignments if not a.cancelled}
        for lease in self.in_state(RUNNING):
            assert lease.assignment in [slot.head for slot in self.slots]
        assert self.rows_bytes == sum(lease.rows_bytes for lease in self.in_state(*UNFINISHED))
        assert self.unsettled_bytes == sum(lease.payload_bytes for lease in self.in_state(COMPLETING))
