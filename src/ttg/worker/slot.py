"""One slot: a child that is always there, the assignments in flight to it, and what is known of how they go.

::

    STARTING ── Ready ──▶ UP ── close() ──▶ CLOSED
        ▲                  │
        └── child died ────┘   the head of the flight is judged, the rest goes to the fresh child

Assignments are answered in order, so the **head** of the flight is what the child executes now. The slot turns whatever
happens to it, an answer, a death, a limit exceeded, into an :class:`~ttg.worker.outcome.Ended` for its owner.
"""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from typing import Protocol

from ttg.clock import loop_time, unix_time
from ttg.messages import SlotState
from ttg.worker.deaths import death_of
from ttg.worker.flight import Flight, Held
from ttg.worker.outcome import Death, Ended, ended_by_death, ended_by_report, untouched
from ttg.worker.process import ChildHandle, Exit, Spawn
from ttg.worker.protocol import (
    Announced,
    Assignment,
    Forget,
    FromChild,
    Ready,
    Refused,
    Report,
    SetUp,
    Setup,
    StopEarly,
)
from ttg.worker.run_cache import KnownRun

SLICE_GRACE_SECONDS = 1.0
SETUP_SECONDS = 120.0
MAX_SETUP_DEATHS = 3
RESTART_FIRST_SECONDS, RESTART_LAST_SECONDS = 0.1, 5.0


class Phase(enum.Enum):
    """Where a slot is in its life."""

    STARTING = "starting"
    UP = "up"
    CLOSED = "closed"


class SlotOwner(Protocol):
    """Who is told what becomes of the slot's assignments."""

    def on_ended(self, slot: Slot, held: Held, ended: Ended) -> None:
        """An assignment has an end; called once for each that is still wanted."""

    def on_child_died(self, slot: Slot, death: Death, held: Held | None, suspects: int) -> None:
        """The child died unasked, while it executed ``held``; ``suspects`` parameters are under bisect_depth."""

    def on_refused(self, run: KnownRun, text: str) -> None:
        """The run's function cannot be loaded here."""

    def on_change(self, moment: str, slot: Slot, held: Held | None = None) -> None:
        """The slot may have room; ``moment`` names what happened."""


@dataclass(eq=False)
class Slot:
    """See the module's text. Every method returns at once."""

    number: int
    owner: SlotOwner
    spawn: Spawn
    secret: bytes | None = None
    phase: Phase = Phase.STARTING
    flight: Flight = field(default_factory=Flight)
    child: ChildHandle | None = None
    peak_memory_bytes: int = 0
    since: float = field(default_factory=unix_time)
    _set_up: dict[str, bool] = field(default_factory=dict)
    _setup_deaths: dict[str, int] = field(default_factory=dict)
    _numbers: int = 0
    _verdict: Death | None = None
    _blameless: bool = False
    _timer: asyncio.TimerHandle | None = None
    _restart_seconds: float = RESTART_FIRST_SECONDS

    # -- what the owner does with it

    def start(self) -> None:
        """Start a child."""
        self.phase = Phase.STARTING
        self._set_up, self._verdict, self._blameless, self.peak_memory_bytes = {}, None, False, 0
        self.child = self.spawn(self, f"slot {self.number}")

    def assign(self, held: Held) -> None:
        """Put a task in flight."""
        self.flight.add(held)
        if self.phase is Phase.UP:
            self._send(held)

    def stop_early(self) -> None:
        """Ask for a report of the head with what it has."""
        if self.head and self.phase is Phase.UP and self.child:
            self.child.send(StopEarly((self.head.number,)))

    def disown(self, unwanted: list[Held]) -> None:
        """Nobody waits for these any more; the child drops them when it gets to them, or ends them early."""
        for held in unwanted:
            held.wanted, held.unwanted_at = False, loop_time()
        if self.child and self.phase is Phase.UP:
            self.child.send(StopEarly(tuple(held.number for held in unwanted)))

    def forget(self, run: str) -> None:
        """The run is over."""
        if self._set_up.pop(run, None) is not None and self.child:
            self.child.send(Forget(run))

    def kill(self) -> None:
        """End the child and what it executes; nobody is to blame. A fresh child takes its place."""
        self._blameless = True
        if self.child:
            self.child.kill()

    def close(self) -> None:
        """Let the child go; nothing is in flight, or nobody cares."""
        self.phase = Phase.CLOSED
        self._disarm()
        if self.child:
            self.child.close()

    def unwanted_for(self, now: float) -> float:
        """How long the child has been executing what nobody wants any more, in seconds."""
        head = self.head
        executing = head is not None and self.phase is Phase.UP
        return now - max(head.unwanted_at, head.began) if head and executing and not head.wanted else 0.0

    # -- what is known of it

    @property
    def head(self) -> Held | None:
        """What the child executes now."""
        return self.flight.head

    def room(self, now: float) -> int:
        """How many more tasks this slot should have."""
        return 0 if self.phase is Phase.CLOSED else self.flight.room(now)

    def stuck_behind_head(self, now: float) -> list[Held]:
        """What waits behind a head that takes much longer than expected: others could have it."""
        return [held for held in self.flight.others() if held.wanted] if self.flight.is_overdue(now) else []

    def state(self) -> SlotState:
        """For people and monitors."""
        head = self.head
        name = {Phase.STARTING: "starting", Phase.CLOSED: "stopping"}.get(self.phase, "busy" if head else "idle")
        memory = self.child.memory_bytes() if self.child else 0
        since = head.began_unix if head and head.began_unix else self.since
        pid = self.child.pid if self.child else None
        if head is None:
            return SlotState(self.number, name, since, pid, memory_bytes=memory)
        return SlotState(
            self.number, name, since, pid, head.task.run, head.task.id, head.offset, head.task.count, memory
        )

    # -- what the child says

    def on_message(self, message: FromChild, bulk: bytes) -> None:
        """One message of the child."""
        if isinstance(message, Report):
            self._on_report(message, bulk)
        elif isinstance(message, Announced):
            self._on_announced(message)
        elif isinstance(message, Ready):
            self._on_ready()
        elif isinstance(message, SetUp):
            self._on_set_up(message.run)
        elif isinstance(message, Refused):
            self._on_refused(message)

    def _on_ready(self) -> None:
        if self.phase is not Phase.STARTING:
            return
        self.phase = Phase.UP
        self._restart_seconds = RESTART_FIRST_SECONDS
        self.flight.drop_unwanted()
        for held in self.flight.queue:
            self._send(held)
        self.owner.on_change("child_ready", self)

    def _on_set_up(self, run: str) -> None:
        self._set_up[run] = True
        self._setup_deaths.pop(run, None)
        self._begin_head()

    def _on_refused(self, message: Refused) -> None:
        self._set_up.pop(message.run, None)
        for held in self.flight.queue:
            if held.task.run == message.run:
                self.owner.on_refused(held.run, message.text)
                return

    def _on_announced(self, message: Announced) -> None:
        head = self.head
        if head is None or head.number != message.number:
            return
        head.offset, head.count = message.offset, message.count
        self._arm(message.seconds)
        self.owner.on_change("announced", self, head)

    def _on_report(self, report: Report, payload: bytes) -> None:
        if self.head is None or self.head.number != report.number:
            return
        held = self._take_head()
        held.run.saw(held.task.count, report)
        if held.wanted:
            self.flight.saw(report.seconds)
            self.owner.on_ended(self, held, ended_by_report(held.task, report, payload))
        self._begin_head()
        self.owner.on_change("reported", self, held)

    def _take_head(self) -> Held:
        self._disarm()
        held = self.flight.take_head()
        self.since = unix_time()
        return held

    def _send(self, held: Held) -> None:
        assert self.child is not None
        run = held.task.run
        if run not in self._set_up:
            self._set_up[run] = False
            self.child.send(Setup(run, self.secret), held.run.spec_bytes)
        self._numbers += 1
        held.number = self._numbers
        self.child.send(Assignment(held.number, held.task))
        if held is self.head:
            self._begin_head()
        self.owner.on_change("assigned", self, held)

    # -- limits

    def _begin_head(self) -> None:
        """The head's turn has come: the clock of its first slice runs from here, or that of loading its function."""
        head = self.head
        if head is None or self.phase is not Phase.UP:
            return
        self.flight.estimate(head)
        head.began, head.began_unix = loop_time(), unix_time()
        head.offset, head.count = 0, head.task.count
        self._arm(head.task.count * head.run.speed.call_seconds)

    def _arm(self, expected_seconds: float) -> None:
        """Set the timer for what the child does now."""
        self._disarm()
        head = self.head
        assert head is not None
        if not self._set_up.get(head.task.run):
            self._timer = asyncio.get_running_loop().call_later(SETUP_SECONDS, self._on_setup_timeout)
            return
        limit = head.run.spec.limits.timeout_seconds
        if limit is not None and head.count:
            grace = 0.0 if head.count == 1 else SLICE_GRACE_SECONDS + expected_seconds
            self._timer = asyncio.get_running_loop().call_later(limit + grace, self._on_timeout, limit)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_setup_timeout(self) -> None:
        head = self.head
        if head is not None:
            self._setup_deaths[head.task.run] = MAX_SETUP_DEATHS
        self._condemn(Death("timeout", f"loading the function took longer than {SETUP_SECONDS:g} s"))

    def _on_timeout(self, limit: float) -> None:
        self._condemn(Death("timeout", f"took longer than the limit of {limit:g} s per parameter", seconds=limit))

    def check_memory(self) -> None:
        """Kill the child if it uses more memory than its run allows. Call it often."""
        head = self.head
        limit = head.run.spec.limits.memory_bytes if head else None
        if limit is None or self.child is None:
            return
        used = self.child.memory_bytes()
        self.peak_memory_bytes = max(self.peak_memory_bytes, used)
        if used > limit:
            text = f"used {used >> 20} MiB of memory, more than the limit of {limit >> 20} MiB"
            self._condemn(Death("memory", text, peak_memory_bytes=used))

    def on_broken(self, text: str) -> None:
        """The child lives, but there is no talking to it any more."""
        if self.phase is not Phase.CLOSED:
            self._condemn(Death("exit", f"the process {text}"))

    def _condemn(self, verdict: Death) -> None:
        if self._verdict is None and self.child is not None:
            self._verdict = verdict
            self.child.kill()

    # -- its death

    def on_exit(self, exit: Exit) -> None:
        """The child is gone."""
        self._disarm()
        self.child = None
        if self.phase is Phase.CLOSED:
            self.owner.on_change("child_gone", self)
            return
        was_up = self.phase is Phase.UP
        self.phase = Phase.STARTING
        self._judge(exit, was_up)
        delay = 0.0 if was_up else self._restart_seconds
        self._restart_seconds = RESTART_FIRST_SECONDS if was_up else min(2 * delay, RESTART_LAST_SECONDS)
        asyncio.get_running_loop().call_later(delay, self._restart)

    def _restart(self) -> None:
        if self.phase is Phase.STARTING and self.child is None:
            self.start()

    def _judge(self, exit: Exit, was_up: bool) -> None:
        """Whose fault it was: the head's slice, the loading of its run, or nobody's."""
        head, death = self.head, death_of(exit, self._verdict, self.peak_memory_bytes)
        if self._blameless:
            self._end_head(untouched(head.task)) if head else None
        elif head is None or not was_up:
            self.owner.on_child_died(self, death, None, 0)
        elif not self._set_up.get(head.task.run):
            self._blame_loading(head, death)
        else:
            offset, count = head.suspects
            self.owner.on_child_died(self, death, head, count)
            self._end_head(ended_by_death(head.task, offset, count, death))

    def _blame_loading(self, head: Held, death: Death) -> None:
        run = head.task.run
        self._setup_deaths[run] = self._setup_deaths.get(run, 0) + 1
        self.owner.on_child_died(self, death, head, 0)
        if self._setup_deaths[run] >= MAX_SETUP_DEATHS:
            text = f"the process that loads {head.run.spec.function} dies: {death.text}"
            self.owner.on_refused(head.run, text)

    def _end_head(self, ended: Ended) -> None:
        held = self._take_head()
        if held.wanted:
            self.owner.on_ended(self, held, ended)
