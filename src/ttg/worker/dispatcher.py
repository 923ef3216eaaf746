"""The way of every task through this worker, from its lease to its outcome: what to do, who does it, what came of it.

Where a task is at any time is said by :class:`~ttg.worker.leases.Leases`; here is what moves it.
"""

from __future__ import annotations

import enum
import logging
from collections import defaultdict
from collections.abc import Sequence

from ttg.backoff import Backoff
from ttg.brokers.base import Delivery
from ttg.clock import loop_time
from ttg.errors import MessageError
from ttg.messages import ChildDied, FunctionRefused, MessageQuarantined, Task
from ttg.worker.assignments import Assignment
from ttg.worker.config import WorkerConfig
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.leases import Lease, Leases, State
from ttg.worker.outcome import Death, Ended, ended_by_lost_workers
from ttg.worker.process import Spawn
from ttg.worker.run_cache import KnownRun, RunCache
from ttg.worker.settler import Settler
from ttg.worker.slot import Slot

log = logging.getLogger("ttg.worker")

MAX_UNKNOWN_DISPATCHES = 6
MAX_REFUSED_DISPATCHES = 3
NO_TASK = Task("", "", ())


class Decision(enum.Enum):
    """What to do with a task that is leased and bound to no slot."""

    RUN = "its run is known: a slot executes it"
    BISECT = "too many workers were lost with it: it is split, or charged"
    REFUSE = "this worker does not execute its run: kept for a while, so that nobody spins, then others may have it"
    DROP = "its run is over, or it is of another life of its run"
    WAIT = "the broker may learn of its run a moment later"


def decide(run: KnownRun | None, delivery: Delivery) -> Decision:
    """What to do with ``delivery``, as far as its ``run`` is known."""
    if run is None:
        return Decision.WAIT
    if not run.is_active:
        return Decision.DROP
    if run.refusal:
        return Decision.REFUSE
    return Decision.BISECT if ended_by_lost_workers(delivery.task, delivery.deliveries) else Decision.RUN


class Dispatcher:
    """Owns the slots; see the module's text. Only :meth:`dispatch` and its callers wait, for the broker."""

    def __init__(
        self,
        config: WorkerConfig,
        runs: RunCache,
        backoff: Backoff,
        events: EventBuffer,
        leases: Leases,
        settler: Settler,
        spawn: Spawn,
    ) -> None:
        self._worker = config.name
        self._runs, self._backoff, self._events = runs, backoff, events
        self._leases, self._settler = leases, settler
        secret = config.secret.encode() if config.secret else None
        self.slots = [Slot(number, self, leases, spawn, secret) for number in range(config.slots)]

    # -- tasks that come

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Find out what to do with tasks that were just leased, and do it."""
        kept, unwanted = self._leases.admit(deliveries)
        self.give_back(unwanted)
        for lease in kept:
            self._settler.observe("leased", delivery=lease.delivery)
            await self.dispatch(lease)

    async def redispatch(self) -> None:
        """Ask again what to do with the tasks that wait for a decision."""
        for lease in self._leases.in_state(State.PENDING):
            if lease.dispatches:
                await self.dispatch(lease)

    async def dispatch(self, lease: Lease) -> None:
        """Decide about a pending task."""
        run, reason = await self._find_run(lease.task)
        if lease.state is not State.PENDING:
            return  # lost, or given back, while the broker was asked
        lease.dispatches += 1
        decision = Decision.DROP if self._runs.is_stale(lease.task) else decide(run, lease.delivery)
        if decision is Decision.WAIT and (reason or lease.dispatches >= MAX_UNKNOWN_DISPATCHES):
            self._quarantine(lease, reason or f"run {lease.task.run} is unknown to this broker")
        elif decision is Decision.DROP:
            self._settler.drop(lease)
        elif run is None:
            return
        elif decision is Decision.REFUSE:
            self._refuse(lease, run)
        elif decision is Decision.BISECT:
            self._bisect(lease, run)
        else:
            self._assign(lease, run)

    async def _find_run(self, task: Task) -> tuple[KnownRun | None, str]:
        """The run if the broker knows it, and what is wrong with its record."""
        try:
            return await self._backoff.call(lambda: self._runs.find(task)), ""
        except MessageError as error:
            return None, str(error)

    def _quarantine(self, lease: Lease, reason: str) -> None:
        log.error("task %s quarantined: %s", lease.task.id, reason)
        self._events.emit(MessageQuarantined, queue="tasks", reason=reason)
        self._settler.drop(lease)

    def _refuse(self, lease: Lease, run: KnownRun) -> None:
        if lease.dispatches >= MAX_REFUSED_DISPATCHES:
            self._settler.give_back(lease)
        elif lease.dispatches == 1:
            about = {"run": run.name, "identity": run.record.identity, "text": run.refusal, "lasting": run.lasting}
            self._events.emit(FunctionRefused, worker=self._worker, **about)

    def _bisect(self, lease: Lease, run: KnownRun) -> None:
        ended = ended_by_lost_workers(lease.task, lease.delivery.deliveries)
        assert ended is not None
        log.warning("task %s was lost with %d workers: looking closer", lease.task.id, lease.delivery.deliveries - 1)
        self._settler.end(lease, run, ended)

    def _assign(self, lease: Lease, run: KnownRun) -> None:
        slot = self._leases.next_slot(loop_time())
        self.slots[slot].assign(run, self._leases.assign(lease, run, slot))

    # -- what slots say

    def on_ended(self, slot: Slot, assignment: Assignment, ended: Ended) -> None:
        """An assignment has an end. If too much waits to be settled already, nothing more is started."""
        lease = self._leases.of(assignment)
        assert lease is not None
        self._settler.end(lease, assignment.run, ended, slot.number, assignment.began_unix)
        if self._leases.is_full:
            self.give_back(self._leases.in_state(State.QUEUED))

    def on_child_died(self, slot: Slot, death: Death, assignment: Assignment | None, suspects: int) -> None:
        """A child died unasked."""
        self._settler.summary.children_died += 1
        task = assignment.task if assignment else NO_TASK
        log.warning("slot %d: %s (%s, %d suspects)", slot.number, death.text, task.id or "idle", suspects)
        about = {"run": task.run, "identity": task.identity, "task": task.id, "suspects": suspects}
        self._events.emit(ChildDied, worker=self._worker, slot=slot.number, kind=death.kind, text=death.text, **about)
        self._settler.observe("child_died", slot=slot, death=death, assignment=assignment, suspects=suspects)

    def on_refused(self, run: KnownRun, text: str) -> None:
        """A run's function cannot be loaded here: its tasks are kept for a while."""
        if not run.refusal:
            log.error("run %s is refused: %s", run.name, text)
        run.refusal, run.lasting = text, True
        leases = self._leases.of_run(run)
        self._stop_early(leases)
        for lease in leases:
            self._leases.hold(lease)
            self._refuse(lease, run)

    def on_change(self, moment: str, slot: Slot, assignment: Assignment | None = None) -> None:
        """A slot may have room."""
        self._settler.on_change()
        self._settler.observe(moment, slot=slot, assignment=assignment)

    # -- tasks that go

    def give_back(self, leases: Sequence[Lease]) -> None:
        """Return tasks untouched, uncharged."""
        self._stop_early(leases)
        for lease in leases:
            self._settler.give_back(lease)

    def lose(self, deliveries: Sequence[Delivery]) -> None:
        """Somebody else has these now, except for those that were settled while the broker was asked."""
        leases = self._leases.find(deliveries)
        if leases:
            log.warning("lost %d tasks to other workers: their leases ran out", len(leases))
        self._stop_early(leases)
        for lease in leases:
            self._leases.lose(lease)
            self._settler.observe("lost", delivery=lease.delivery)

    def forget(self, run: KnownRun) -> None:
        """The run is over, or was specified anew."""
        log.info("run %s is %s", run.name, run.record.status.words)
        if not run.is_active:
            leases = self._leases.of_run(run)
            self._stop_early(leases)
            for lease in leases:
                self._settler.drop(lease)
        for slot in self.slots:
            slot.forget(run.life)

    def tick(self, now: float) -> None:
        """Watch the limits of children, and give back what waits behind a task that takes too long."""
        for slot in self.slots:
            slot.tick(now)
        self.give_back(self._leases.overtaken(now))

    def drain(self) -> None:
        """Give back what no child executes; children are asked for what they have, and not replaced."""
        self.give_back(self._leases.in_state(State.PENDING, State.QUEUED))
        for slot in self.slots:
            slot.drain()

    def _stop_early(self, leases: Sequence[Lease]) -> None:
        """Nobody will wait for these; children that have them need not execute them."""
        stopped = defaultdict(list)
        for lease in leases:
            if lease.assignment:
                stopped[lease.assignment.slot].append(lease.assignment)
        for slot, assignments in stopped.items():
            self.slots[slot].stop_early(assignments)
