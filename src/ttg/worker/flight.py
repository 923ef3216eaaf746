"""What is in flight to a child, in the order in which it will be executed, and how long that will take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ttg.brokers.base import Delivery
from ttg.messages import Task
from ttg.worker.run_cache import KnownRun

QUEUE_AHEAD_SECONDS = 0.05
MAX_IN_FLIGHT = 256
OVERHEAD_SECONDS = 5e-5
OVERRUN_SECONDS = 0.5
UNKNOWN_SECONDS = 1e6


@dataclass(eq=False, slots=True)
class Held:
    """A leased task in a slot. Not ``wanted`` once its lease is lost or it was given back: an answer is ignored."""

    delivery: Delivery
    run: KnownRun
    number: int = 0
    wanted: bool = True
    unwanted_at: float = 0.0
    estimate_seconds: float = 0.0
    began: float = 0.0
    began_unix: float = 0.0
    offset: int = 0
    count: int = 0

    @property
    def task(self) -> Task:
        """The task that was leased."""
        return self.delivery.task

    @property
    def suspects(self) -> tuple[int, int]:
        """Offset and count of what the child was executing, or encoding, when last heard of."""
        return (self.offset, self.count) if self.count else (0, self.offset or self.task.count)


@dataclass(eq=False)
class Flight:
    """A queue of :class:`Held`; the first, the head, is what the child executes now."""

    queue: deque[Held] = field(default_factory=deque)
    _expected_seconds: float = 0.0
    _task_seconds: float = 0.0

    @property
    def head(self) -> Held | None:
        """What the child executes now."""
        return self.queue[0] if self.queue else None

    def others(self) -> list[Held]:
        """What waits behind the head."""
        return list(self.queue)[1:]

    # -- coming and going

    def add(self, held: Held) -> None:
        """Put it at the end."""
        self.queue.append(held)
        self.estimate(held)

    def estimate(self, held: Held) -> None:
        """How long it will take, by what is known of its run now."""
        self._expected_seconds -= held.estimate_seconds
        held.estimate_seconds = held.task.count * held.run.speed.call_seconds + OVERHEAD_SECONDS
        self._expected_seconds += held.estimate_seconds

    def take_head(self) -> Held:
        """Remove the head."""
        held = self.queue.popleft()
        self._expected_seconds = self._expected_seconds - held.estimate_seconds if self.queue else 0.0
        return held

    def drop_unwanted(self) -> None:
        """Remove what nobody waits for; only while no child executes any of it."""
        self.queue = deque(held for held in self.queue if held.wanted)
        self._expected_seconds = sum(held.estimate_seconds for held in self.queue)

    def saw(self, seconds: float) -> None:
        """A task kept the child busy for so long. Quick to learn that tasks are long: leasing too many is the worse
        mistake."""
        took = seconds + OVERHEAD_SECONDS
        self._task_seconds = max(took, (3 * self._task_seconds + took) / 4)

    # -- how long

    def room(self, now: float) -> int:
        """How many more tasks would keep the child busy for :data:`QUEUE_AHEAD_SECONDS`. What comes next may be slower
        than what was, so room grows step by step; and of a run of unknown speed only a pilot gets one behind it."""
        if len(self.queue) >= MAX_IN_FLIGHT or self.room_in(now) > 0:
            return 0
        if not self._task_seconds or not all(held.run.speed.count for held in self.queue):
            return 1 if sum(held.task.count for held in self.queue) < 2 else 0
        lacking = QUEUE_AHEAD_SECONDS - self.backlog_seconds(now)
        step = min(2 + len(self.queue), MAX_IN_FLIGHT - len(self.queue))
        return max(1, min(int(lacking / self._task_seconds), step))

    def room_in(self, now: float) -> float:
        """In how many seconds there will be room, if all goes as expected."""
        return max(0.0, self.backlog_seconds(now) - QUEUE_AHEAD_SECONDS)

    def backlog_seconds(self, now: float) -> float:
        """Work in flight, as far as can be told. A head that takes much longer than expected may take for ever."""
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
