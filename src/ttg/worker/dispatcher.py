"""The way of every task through this worker, from its lease to its outcome: what to do, who does it, what came of it.

Where a task is at any time is said by :class:`~ttg.worker.leases.Leases`; here is what moves it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ttg.backoff import Backoff
from ttg.brokers.base import Delivery
from ttg.clock import loop_time
from ttg.errors import MessageError
from ttg.messages import ChildDied, FunctionLoading, FunctionRefused, MessageQuarantined, Task
from ttg.worker.assignments import Assignment
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.leases import MAX_UNSETTLED_BYTES, PENDING, QUEUED, Lease, Leases
from ttg.worker.outcome import Death, Ended, ended_by_lost_workers
from ttg.worker.refused_rounds import RefusedRounds
from ttg.worker.run_cache import KnownRun, RunCache
from ttg.worker.settler import Settler
from ttg.worker.slot import Slot

log = logging.getLogger("ttg.worker")

MAX_UNKNOWN_DISPATCHES = 6
SAY_REFUSED_SECONDS = 1.0
NO_TASK = Task("", "", ())


@dataclass(eq=False)
class Dispatcher:
    """See the module's text. Only :meth:`dispatch` and its callers wait, for the broker."""

    runs: RunCache
    backoff: Backoff
    events: EventBuffer
    leases: Leases
    settler: Settler
    slots: list[Slot] = field(default_factory=list)
    rounds: RefusedRounds = field(default_factory=RefusedRounds)

    # -- tasks that come

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Find out what to do with tasks that were just leased, and do it."""
        kept, declined = self.leases.admit(deliveries)
        self.give_back(declined)
        for lease in kept:
            self.settler.observe("leased", delivery=lease.delivery)
            await self.dispatch(lease)

    async def redispatch(self) -> None:
        """Ask again what to do with the tasks that wait for a decision."""
        for lease in self.leases.in_state(PENDING):
            if lease.dispatches:
                await self.dispatch(lease)
        self.give_back([lease for lease in self.leases.in_state(QUEUED) if self._waits_for_nothing(lease)])

    def _waits_for_nothing(self, lease: Lease) -> bool:
        """Whether its run is paused: whoever leases it next asks the broker whether it still is."""
        run = self.runs.known(lease.task)
        return run is not None and run.record.paused and lease.task.attempt == 1

    async def dispatch(self, lease: Lease) -> None:
        """Decide about a pending task: wait for its run to be known, drop, refuse, bisect, or run it."""
        run, fault = self.runs.known(lease.task), ""
        if run is None:
            run, fault = await self._find_run(lease.task)
        put_off = run is not None and await self._is_put_off(run, lease.task)
        if lease.state is not PENDING:
            return  # lost, or given back, while the broker was asked
        lease.dispatches += 1
        if self.runs.is_stale(lease.task):
            self.settler.drop(lease)  # of another life of its run
        elif run is None:
            if fault or lease.dispatches >= MAX_UNKNOWN_DISPATCHES:
                self._quarantine(lease, fault or f"run {lease.task.run} is unknown to this broker")
        elif not run.is_active or put_off:
            self.settler.drop(lease)
        elif run.refusal:
            self._refuse(lease, run)
        elif ended := ended_by_lost_workers(lease.task, lease.delivery.deliveries):
            log.warning("task %s was lost with %d workers: bisecting", lease.task.id, lease.delivery.deliveries - 1)
            self.settler.end(lease, run, ended)
        else:
            self._say(run, logging.INFO, f"joined: {run.spec.function}, {run.spec.size:,} parameters")
            self.rounds.accepted()
            slot = self.leases.next_slot(loop_time())
            self.slots[slot].assign(run, self.leases.assign(lease, run, slot))

    async def _find_run(self, task: Task) -> tuple[KnownRun | None, str]:
        """The run if the broker knows it, and what is wrong with its record."""
        try:
            return await self.backoff.call(lambda: self.runs.find(task)), ""
        except MessageError as error:
            return None, str(error)

    async def _is_put_off(self, run: KnownRun, task: Task) -> bool:
        return run.record.paused and await self.backoff.call(lambda: self.runs.puts_off(run, task))

    def _quarantine(self, lease: Lease, reason: str) -> None:
        log.error("task %s quarantined: %s", lease.task.id, reason)
        self.events.emit(MessageQuarantined, queue="tasks", reason=reason)
        self.settler.drop(lease)

    def _refuse(self, lease: Lease, run: KnownRun) -> None:
        """Others may have it, at once."""
        now = loop_time()
        self.settler.give_back(lease)
        self.rounds.refused(lease.task, now)
        if now < run.refusal_due:
            return
        run.refusal_due = now + SAY_REFUSED_SECONDS
        self._say(run, logging.WARNING, f"refused: {run.refusal}")
        about = {"run": run.name, "identity": run.record.identity, "text": run.refusal, "lasting": run.lasting}
        self.events.emit(FunctionRefused, worker=self.events.worker, **about)

    def _say(self, run: KnownRun, level: int, text: str) -> None:
        """What becomes of the tasks of a run here, whenever that changes."""
        if run.said != text:
            run.said = text
            log.log(level, "run %s %s", run.name, text)

    # -- what slots say

    def on_ended(self, slot: Slot, assignment: Assignment, ended: Ended) -> None:
        """An assignment has an end. If its rows are too much beside those that wait, nothing more is started."""
        lease = self.leases.of(assignment)
        assert lease is not None
        self.settler.end(lease, assignment.run, ended, slot.number, assignment.began_unix)
        if self.leases.unsettled_bytes >= MAX_UNSETTLED_BYTES:
            self.give_back(self.leases.in_state(QUEUED))

    def on_child_died(self, slot: Slot, death: Death, assignment: Assignment | None, suspects: int) -> None:
        """A child died unasked."""
        self.settler.summary.children_died += 1
        task = assignment.task if assignment else NO_TASK
        log.warning("slot %d: %s (%s, %d suspects)", slot.number, death.text, task.id or "idle", suspects)
        about = {"run": task.run, "identity": task.identity, "task": task.id, "suspects": suspects}
        worker = self.events.worker
        self.events.emit(ChildDied, worker=worker, slot=slot.number, kind=death.kind, text=death.text, **about)
        self.settler.observe("child_died", slot=slot, death=death, assignment=assignment, suspects=suspects)

    def on_loading(self, run: KnownRun, text: str) -> None:
        """Told to whoever waits for the run."""
        log.warning("%s", text)
        about = {"run": run.name, "identity": run.record.identity}
        self.events.emit(FunctionLoading, worker=self.events.worker, text=text, **about)

    def on_waiting(self, run: KnownRun, text: str) -> None:
        """Heartbeats tell it to whoever waits for the run."""
        log.warning("run %s: %s", run.name, text)

    def on_unshared(self, run: KnownRun, text: str) -> None:
        """Its results travel through the broker."""
        if run.unshared != text and run.spec.store is not None:
            level = logging.WARNING if run.spec.store.named else logging.INFO
            log.log(level, "run %s: results travel through the broker, not through its store: %s", run.name, text)
        run.unshared = text

    def on_refused(self, run: KnownRun, text: str) -> None:
        """A run's function cannot be loaded here: what of it is here goes back."""
        self._say(run, logging.ERROR, f"refused: {text}")
        run.refusal, run.lasting = text, True
        self._withdraw(self.leases.of_run(run), lambda lease: self._refuse(lease, run))

    def on_change(self, moment: str, slot: Slot, assignment: Assignment | None = None) -> None:
        """A slot may have room."""
        self.settler.on_change()
        self.settler.observe(moment, slot=slot, assignment=assignment)

    # -- tasks that go

    def give_back(self, leases: Sequence[Lease]) -> None:
        """Return tasks untouched, uncharged."""
        self._withdraw(leases, self.settler.give_back)

    def lose(self, deliveries: Sequence[Delivery]) -> None:
        """Somebody else has these now, except for those that were settled while the broker was asked."""
        leases = self.leases.find(deliveries)
        if leases:
            log.warning("lost %d tasks to other workers: their leases ran out", len(leases))
        self._withdraw(leases, self.leases.lose)
        for lease in leases:
            self.settler.observe("lost", delivery=lease.delivery)

    def forget(self, run: KnownRun) -> None:
        """The run is over, or was specified anew."""
        log.info("run %s is %s", run.name, run.record.status.words)
        if not run.is_active:
            self._withdraw(self.leases.of_run(run), self.settler.drop)
        for slot in self.slots:
            slot.forget(run.life)

    def tick(self, now: float) -> None:
        """Watch the limits of children, and give back what waits behind a task that takes too long."""
        for slot in self.slots:
            slot.tick(now)
        self.give_back(self.leases.overtaken(now))

    def drain(self) -> None:
        """Give back what no child executes; children are asked for what they have, and not replaced."""
        self.give_back(self.leases.in_state(PENDING, QUEUED))
        for slot in self.slots:
            slot.drain()

    def _withdraw(self, leases: Sequence[Lease], end: Callable[[Lease], None]) -> None:
        """``end`` these; children that have them need not execute them."""
        for lease in leases:
            if lease.assignment:
                self.slots[lease.assignment.slot].stop_early(lease.assignment)
            end(lease)
