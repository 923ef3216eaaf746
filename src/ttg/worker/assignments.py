"""What one child was sent, in the order in which it executes it, and how long that will take. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ttg.brokers.base import Delivery
from ttg.messages import Task
from ttg.worker.run_cache import KnownRun

QUEUE_AHEAD_SECONDS = 0.05
MAX_ASSIGNMENTS = 256
OVERHEAD_SECONDS = 5e-5
OVERRUN_SECONDS = 0.5
UNKNOWN_SECONDS = 1e6


@dataclass(eq=False, slots=True)
class Assignment:
    """A task that a slot's child executes, or will. ``cancelled``: its lease is not bound to it any more, so what the
    child says of it is ignored. ``note`` is what the child waits for, if it has to."""

    delivery: Delivery
    run: KnownRun
    slot: int = 0
    number: int = 0
    cancelled: bool = False
    estimate_seconds: float = 0.0
    began: float = 0.0
    began_unix: float = 0.0
    offset: int = 0
    count: int = 0
    note: str = ""

    @property
    def task(self) -> Task:
        """The task that was leased."""
        return self.delivery.task

    @property
    def suspects(self) -> tuple[int, int]:
        """Offset and count of what the child was executing, or encoding, when last heard of."""
        return (self.offset, self.count) if self.count else (0, self.offset or self.task.count)

    def estimate(self) -> float:
        """How long it will take, by what is known of its run now."""
        return self.task.count * self.run.speed.call_seconds + OVERHEAD_SECONDS


@dataclass(eq=False)
class Assignments:
    """The queue of one slot; the first, the head, is what the child executes now."""

    queue: deque[Assignment] = field(default_factory=deque)
    _expected_seconds: float = 0.0
    _last: Assignment | None = None

    @property
    def head(self) -> Assignment | None:
        """What the child executes now."""
        return self.queue[0] if self.queue else None

    # -- coming and going

    def append(self, assignment: Assignment) -> None:
        """Put it at the end."""
        self.queue.append(assignment)
        self._last = assignment
        self._expect(assignment)

    def begin(self, now: float, unix_now: float) -> Assignment:
        """The head's turn has come: it is estimated anew, and its clock runs from here."""
        head = self.queue[0]
        self._expect(head)
        head.began, head.began_unix = now, unix_now
        head.offset, head.count = 0, head.task.count
        return head

    def pop(self) -> Assignment:
        """Remove the head."""
        head = self.queue.popleft()
        self._expected_seconds = self._expected_seconds - head.estimate_seconds if self.queue else 0.0
        return head

    def drop_cancelled(self) -> None:
        """Remove what is cancelled; only while no child has any of it."""
        self.queue = deque(assignment for assignment in self.queue if not assignment.cancelled)
        for assignment in self.queue:
            assignment.began = 0.0
        self._expected_seconds = sum(assignment.estimate_seconds for assignment in self.queue)

    def _expect(self, assignment: Assignment) -> None:
        self._expected_seconds -= assignment.estimate_seconds
        assignment.estimate_seconds = assignment.estimate()
        self._expected_seconds += assignment.estimate_seconds

    # -- how long

    def room(self, now: float) -> int:
        """How many more tasks would keep the child busy for :data:`QUEUE_AHEAD_SECONDS`, if they are like the last one.
        They may be slower, so room grows step by step; and of a run of unknown speed only a pilot gets one behind it.
        """
        if len(self.queue) >= MAX_ASSIGNMENTS or self.room_in(now) > 0:
            return 0
        last = self._last
        if last is None or not last.run.speed.count or not all(held.run.speed.count for held in self.queue):
            return 1 if sum(assignment.task.count for assignment in self.queue) < 2 else 0
        lacking = QUEUE_AHEAD_SECONDS - self.backlog_seconds(now)
        step = min(2 + len(self.queue), MAX_ASSIGNMENTS - len(self.queue))
        return max(1, min(int(lacking / last.estimate()), step))

    def room_in(self, now: float) -> float:
        """In how many seconds there will be room, if all goes as expected."""
        return max(0.0, self.backlog_seconds(now) - QUEUE_AHEAD_SECONDS)

    def backlog_seconds(self, now: float) -> float:
        """Work assigned, as far as can be told. A head that takes much longer than expected may take for ever."""
        if not self.queue:
            return 0.0
        if self.is_overdue(now):
            return UNKNOWN_SECONDS
        elapsed = now - self.queue[0].began if self.queue[0].began else 0.0
        return max(0.0, self._expected_seconds - elapsed)

    def is_overdue(self, now: float) -> bool:
        """Whether the head takes much longer than expected."""
        head = self.head
        return bool(head and head.began and now - head.began > head.estimate_seconds + OVERRUN_SECONDS)
