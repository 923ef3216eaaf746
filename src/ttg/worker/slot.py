"""One slot: a child that is always there, and the assignments that it executes one after the other.

::

    STARTING ── Ready ──▶ UP ── close() ──▶ CLOSED
        ▲                  │                   ▲
        └── child died ────┴── child died ─────┘
                               while draining

Assignments are answered in order, so the **head** of the queue is what the child executes now. The slot turns whatever
happens to it, an answer, a death, a limit exceeded, into an :class:`~ttg.worker.outcome.Ended` for its owner.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import Protocol

from msgspec.structs import replace

from ttg.clock import loop_time, unix_time
from ttg.messages import SlotState
from ttg.worker.assignments import Assignment
from ttg.worker.leases import Leases
from ttg.worker.limits import noted_after
from ttg.worker.outcome import Death, Ended, ended_by_death, ended_by_report, untouched
from ttg.worker.process import ChildHandle, Exit, Spawn
from ttg.worker.protocol import (
    Announced,
    Forget,
    FromChild,
    Ready,
    Refused,
    Report,
    SetUp,
    Setup,
    StopEarly,
    Waiting,
    executing,
)
from ttg.worker.run_cache import KnownRun
from ttg.worker.watchdog import Watchdog, place_of_import

log = logging.getLogger("ttg.worker")

SLICE_GRACE_SECONDS = 1.0
CANCEL_GRACE_SECONDS = 1.0
NOTICE_SECONDS = 0.5
"""How long it takes what a child prints to arrive."""
MAX_SETUP_DEATHS = 3
RESTART_FIRST_SECONDS, RESTART_LAST_SECONDS = 0.1, 5.0


class Phase(enum.Enum):
    """Where a slot is in its life."""

    STARTING = "starting"
    UP = "up"
    CLOSED = "closed"


class SlotOwner(Protocol):
    """Who is told what becomes of the slot's assignments."""

    def on_ended(self, slot: Slot, assignment: Assignment, ended: Ended) -> None:
        """An assignment has an end; called once for each that is not cancelled."""

    def on_child_died(self, slot: Slot, death: Death, assignment: Assignment | None, suspects: int) -> None:
        """The child died unasked, while it executed ``assignment``; one of ``suspects`` parameters may be the cause."""

    def on_loading(self, run: KnownRun, text: str) -> None:
        """The run's function is being loaded, for long."""

    def on_waiting(self, run: KnownRun, text: str) -> None:
        """A result of the run is held until its store takes it."""

    def on_unshared(self, run: KnownRun, text: str) -> None:
        """The run's store cannot be used here."""

    def on_refused(self, run: KnownRun, text: str) -> None:
        """The run's function cannot be loaded here."""

    def on_change(self, moment: str, slot: Slot, assignment: Assignment | None = None) -> None:
        """The slot may have room; ``moment`` names what happened."""


class Slot:
    """See the module's text. Every method returns at once."""

    def __init__(
        self, number: int, owner: SlotOwner, leases: Leases, spawn: Spawn, secret: bytes | None = None
    ) -> None:
        self.number = number
        self.phase = Phase.STARTING
        self.child: ChildHandle | None = None
        self._owner, self._spawn, self._secret = owner, spawn, secret
        self._leases, self._assignments = leases, leases.slots[number]
        self._loaded: dict[str, bool] = {}
        self._setup_deaths: dict[str, int] = {}
        self._since = unix_time()
        self._cancelled_since: float | None = None
        self._restart_seconds = RESTART_FIRST_SECONDS
        self._draining = False

    # -- what the owner does with it

    def start(self) -> None:
        """Start a child, as soon as the system lets us: it may have too many processes for now, or open files."""
        if self.phase is not Phase.STARTING or self.child is not None:
            return
        self._loaded, self._cancelled_since = {}, None
        try:
            self.child = self._spawn(self, self.number)
        except OSError as error:
            log.warning("slot %d: a process cannot be started for now: %s", self.number, error)
            self._start_later()
        else:
            self._watchdog = Watchdog(self.child)

    def _start_later(self) -> None:
        """After a pause that grows from one time to the next."""
        asyncio.get_running_loop().call_later(self._restart_seconds, self.start)
        self._restart_seconds = min(2 * self._restart_seconds, RESTART_LAST_SECONDS)

    def assign(self, run: KnownRun, assignment: Assignment) -> None:
        """Send the child what was just assigned; while it starts, that waits."""
        if self.phase is not Phase.UP or self.child is None:
            return
        if run.life not in self._loaded:
            self._loaded[run.life] = False
            self.child.send(Setup(run.life, self._secret), run.spec_bytes)
        self.child.send(*executing(assignment.number, assignment.task))
        if assignment is self._assignments.head:
            self._begin_head()
        self._owner.on_change("assigned", self, assignment)

    def stop_early(self, assignment: Assignment) -> None:
        """Ask for its report with what it has."""
        if self.child and self.phase is Phase.UP:
            self.child.send(StopEarly((assignment.number,)))

    def forget(self, run: str) -> None:
        """The run is over."""
        if self._loaded.pop(run, None) is not None and self.child:
            self.child.send(Forget(run))

    def tick(self, now: float) -> None:
        """End a child that uses too much memory, or goes on with what is cancelled. Call it often."""
        head = self._assignments.head
        if head is None or self.child is None or self.phase is not Phase.UP:
            return
        if head.run.spec.limits.memory_bytes is not None:
            self._watchdog.check_memory(head.run.spec.limits.memory_bytes)
        self._cancelled_since = (self._cancelled_since or now) if head.cancelled else None
        if self._cancelled_since and now - self._cancelled_since > CANCEL_GRACE_SECONDS:
            self.kill()

    def drain(self) -> None:
        """Ask for the head's report with what it has. No other child is started."""
        self._draining = True
        if self.phase is Phase.STARTING:
            self.close()
        elif self._assignments.head:
            self.stop_early(self._assignments.head)

    def kill(self) -> None:
        """End the child and what it executes; nobody is to blame."""
        if self.child:
            self._watchdog.kill(None)

    def close(self) -> None:
        """Let the child go; nothing is assigned, or nobody cares."""
        self.phase = Phase.CLOSED
        if self.child:
            self._watchdog.disarm()
            self.child.close()

    def state(self) -> SlotState:
        """For people and monitors."""
        head = self._assignments.head
        name = {Phase.STARTING: "starting", Phase.CLOSED: "stopping"}.get(self.phase, "busy" if head else "idle")
        pid, memory = (self.child.pid, self.child.memory_bytes()) if self.child else (None, 0)
        since = head.began_unix if head and head.began_unix else self._since
        state = SlotState(self.number, name, since, pid, memory_bytes=memory)
        if head is None:
            return state
        task = head.task
        return replace(state, run=task.run, task=task.id, done=head.offset, total=task.count, note=head.note)

    # -- what the child says

    def on_message(self, message: FromChild, bulk: bytes) -> None:
        """One message of the child."""
        if isinstance(message, Report):
            self._on_report(message, bulk)
        elif isinstance(message, Announced):
            self._on_announced(message)
        elif isinstance(message, Waiting):
            self._on_waiting(message)
        elif isinstance(message, Ready):
            self._on_ready()
        elif isinstance(message, SetUp):
            self._on_set_up(message)
        elif isinstance(message, Refused):
            self._on_refused(message)

    def _on_ready(self) -> None:
        if self.phase is not Phase.STARTING:
            return
        self.phase = Phase.UP
        self._restart_seconds = RESTART_FIRST_SECONDS
        self._assignments.drop_cancelled()
        for assignment in self._assignments.queue:
            self.assign(assignment.run, assignment)
        self._owner.on_change("child_ready", self)

    def _on_set_up(self, message: SetUp) -> None:
        self._loaded[message.run] = True
        self._setup_deaths.pop(message.run, None)
        head = self._assignments.head
        if message.unshared and head is not None:
            self._owner.on_unshared(head.run, message.unshared)
        self._begin_head()

    def _on_refused(self, message: Refused) -> None:
        self._loaded.pop(message.run, None)
        for assignment in self._assignments.queue:
            if assignment.run.life == message.run:
                self._owner.on_refused(assignment.run, message.text)
                return

    def _on_announced(self, message: Announced) -> None:
        head = self._assignments.head
        if head is None or head.number != message.number:
            return
        head.offset, head.count = message.offset, message.count
        self._limit_time(head, message.seconds)
        self._owner.on_change("announced", self, head)

    def _on_waiting(self, message: Waiting) -> None:
        head = self._assignments.head
        if head is not None and head.number == message.number:
            head.note = message.text
            self._owner.on_waiting(head.run, message.text)

    def _on_report(self, report: Report, payload: bytes) -> None:
        head = self._assignments.head
        if head is None or head.number != report.number:
            return
        head.run.saw(head.task.count, report)
        if not head.cancelled:
            self._owner.on_ended(self, head, ended_by_report(head.task, report, payload))
        self._watchdog.disarm()
        self._leases.pop(self.number)
        self._since = unix_time()
        self._begin_head()
        self._owner.on_change("reported", self, head)

    def _begin_head(self) -> None:
        """The head's turn has come: the clock of its first slice runs from here, or that of loading its function."""
        if self.phase is Phase.UP and self._assignments.head:
            head = self._leases.begin(self.number, loop_time(), unix_time())
            self._limit_time(head, head.task.count * head.run.speed.call_seconds)

    def _limit_time(self, head: Assignment, expected_seconds: float) -> None:
        """How long what the child does now may take."""
        limit = head.run.spec.limits.timeout_seconds
        if not self._loaded.get(head.run.life):
            self._limit_loading(head, head.run.spec.limits.load_seconds)
        elif limit is not None and head.count:
            grace = 0.0 if head.count == 1 else SLICE_GRACE_SECONDS + expected_seconds
            text = f"took longer than the limit of {limit:g} s per parameter"
            self._watchdog.arm(limit + grace, Death("timeout", text, seconds=limit))
        else:
            self._watchdog.disarm()

    def _limit_loading(self, head: Assignment, limit: float) -> None:
        text = f"loading {head.run.spec.loaded} took longer than {limit:g} s (--load-timeout)"
        self._watchdog.arm(limit, Death("timeout", text))
        after = noted_after(limit)
        if self.child is not None:
            asyncio.get_running_loop().call_later(after + NOTICE_SECONDS, self._tell_loading, head, after, self.child)

    def _tell_loading(self, head: Assignment, seconds: float, child: ChildHandle) -> None:
        if self.child is child and head is self._assignments.head and not self._loaded.get(head.run.life):
            place = place_of_import(child.printed())
            where = f": it is at {place}" if place else ""
            self._owner.on_loading(head.run, f"loading {head.run.spec.loaded} takes more than {seconds:g} s{where}")

    # -- its death

    def on_broken(self, text: str) -> None:
        """The child lives, but there is no talking to it any more."""
        if self.phase is not Phase.CLOSED:
            self._watchdog.kill(Death("exit", f"the process {text}"))

    def on_exit(self, exit: Exit) -> None:
        """The child is gone; unless the slot drains, another takes its place, at once if this one ever was up."""
        self._watchdog.disarm()
        was_up, self.child = self.phase is Phase.UP, None
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED if self._draining else Phase.STARTING
            self._find_cause(self._watchdog.death(exit), was_up)
            self._leases.child_gone(self.number)
        if self.phase is Phase.CLOSED:
            self._owner.on_change("child_gone", self)
            return
        if was_up:
            self._restart_seconds = RESTART_FIRST_SECONDS
            asyncio.get_running_loop().call_soon(self.start)
        else:
            self._start_later()

    def _find_cause(self, death: Death, was_up: bool) -> None:
        """What the death was due to: the head's slice, the loading of its run, or nothing that can be told."""
        head = self._assignments.head if was_up else None
        if self._watchdog.blameless:
            self._end(head, untouched(head.task)) if head else None
        elif head is None:
            self._owner.on_child_died(self, death, None, 0)
        elif not self._loaded.get(head.run.life):
            self._blame_loading(head, death)
        else:
            offset, count = head.suspects
            self._owner.on_child_died(self, death, head, count)
            self._end(head, ended_by_death(head.task, offset, count, death))

    def _blame_loading(self, head: Assignment, death: Death) -> None:
        run = head.run.life
        self._setup_deaths[run] = MAX_SETUP_DEATHS if death.kind == "timeout" else self._setup_deaths.get(run, 0) + 1
        self._owner.on_child_died(self, death, head, 0)
        if self._setup_deaths[run] >= MAX_SETUP_DEATHS:
            place = death.place or place_of_import(death.output)
            where = f", at {place}" if place else ""
            whose = "" if death.kind == "timeout" else f"the process that loads {head.run.spec.loaded} dies: "
            text = f"{whose}{death.text}{where}"
            self._owner.on_refused(head.run, text)

    def _end(self, head: Assignment, ended: Ended) -> None:
        self._since = unix_time()
        if not head.cancelled:
            self._owner.on_ended(self, head, ended)
