"""What a memory broker's server holds: queues, leases and logs as plain data. No I/O, no waiting, time is passed in.

This is the reference for what the verbs of :mod:`ttg.brokers.base` mean. Bodies are kept encoded, as on a real broker,
so that a malformed message behaves here as it does there.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from ttg.brokers.base import LETTERS_KEPT
from ttg.brokers.cursors import cursor_of, is_of_another_log, offset_of
from ttg.messages import Outcome, RunRecord, decode, encode


class _IdentityOnly(msgspec.Struct):
    identity: str = ""


def identity_of(body: bytes) -> str | None:
    """The identity of the run that a message belongs to, or ``None`` if it cannot be told."""
    try:
        return msgspec.json.decode(body, type=_IdentityOnly).identity
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


@dataclass(slots=True)
class Leased:
    """A task message on the work queue; ``owner`` is ``None`` while nobody holds it."""

    body: bytes
    deliveries: int = 0
    owner: str | None = None
    heard_at: float = 0.0
    deadline: float = 0.0
    how: str = "lease"


@dataclass(frozen=True, slots=True)
class Takeover:
    """Tasks that went back to the queue because ``owner`` died (``how`` says how that was seen)."""

    owner: str
    how: str
    tasks: int
    silent_seconds: float


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a log. ``run_bytes`` is the size of this run's entries up to and including this one."""

    position: int
    identity: str | None
    body: bytes
    payload: bytes = b""
    run_bytes: int = 0

    @property
    def cursor(self) -> str:
        """Where to read on from, and of which log that is."""
        return cursor_of(self.position, self.body)


class Log:
    """Append-only entries with ascending positions."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.end = ""
        """Cursor of the newest entry there ever was; empty before the first."""
        self._next = 1
        self._run_bytes: dict[str | None, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def append(self, body: bytes, identity: str | None = None, payload: bytes = b"") -> None:
        """Add an entry at the end."""
        self._run_bytes[identity] = size = self._run_bytes.get(identity, 0) + len(body) + len(payload)
        self.entries.append(LogEntry(self._next, identity, body, payload, size))
        self.end = self.entries[-1].cursor
        self._next += 1

    def after(self, cursor: str | None) -> Iterator[LogEntry]:
        """Entries behind ``cursor``, oldest first; all of them if that is of another log, which this one replaced."""
        start = 0
        if cursor and not self._is_not_of(cursor):
            start = bisect_right(self.entries, offset_of(cursor), key=lambda entry: entry.position)
        return (self.entries[index] for index in range(start, len(self.entries)))

    def _is_not_of(self, cursor: str) -> bool:
        place = bisect_left(self.entries, offset_of(cursor), key=lambda entry: entry.position)
        found = self.entries[place].cursor if place < len(self.entries) else self.end
        return is_of_another_log(cursor, found)

    def remove(self, doomed: Callable[[LogEntry], bool]) -> int:
        """Remove the entries that ``doomed`` is true for; returns how many."""
        before = len(self.entries)
        self.entries = [entry for entry in self.entries if not doomed(entry)]
        return before - len(self.entries)

    def trim(self, identity: str, up_to: str, keep_bytes: int) -> int:
        """Drop the oldest entries of a run up to ``up_to``, except for the newest ``keep_bytes`` of them; returns how
        many bytes of them are left."""
        last = offset_of(up_to)
        own = [entry for entry in self.entries if entry.identity == identity and entry.position <= last]
        if not own or self._is_not_of(up_to):
            return 0
        collected = own[-1].run_bytes
        doomed = {entry.position for entry in own if entry.run_bytes <= collected - keep_bytes}
        self.remove(lambda entry: entry.position in doomed)
        return sum(len(entry.body) + len(entry.payload) for entry in own if entry.position not in doomed)


PARTS = {
    "tasks": ("tasks", "retries", "_ready", "_deadlines"),
    "results": ("results", "letters"),
    "events": ("events",),
    "runs": ("runs", "specs"),
}
"""What of a namespace is lost together."""


@dataclass(slots=True)
class Namespace:
    """Everything under one prefix of a memory server."""

    runs: dict[str, bytes] = field(default_factory=dict)
    specs: dict[str, bytes] = field(default_factory=dict)
    tasks: dict[int, Leased] = field(default_factory=dict)
    retries: list[tuple[float, int, bytes]] = field(default_factory=list)
    letters: Log = field(default_factory=Log)
    results: Log = field(default_factory=Log)
    events: Log = field(default_factory=Log)
    consumers: set[str] = field(default_factory=set)
    _ready: deque[int] = field(default_factory=deque)
    _deadlines: list[tuple[float, int]] = field(default_factory=list)
    _counter: int = 0

    def restore(self, old: Namespace, queues: Iterable[str]) -> None:
        """What ``queues`` hold is from now on what they hold in ``old``, which must not be used again."""
        for queue in queues:
            for part in PARTS[queue]:
                setattr(self, part, getattr(old, part))

    def record(self, run: str) -> RunRecord | None:
        """The record of a run."""
        body = self.runs.get(run)
        return decode(body, RunRecord) if body else None

    # -- tasks

    def add_task(self, body: bytes, deliveries: int = 0) -> None:
        """Queue a task message at the end."""
        self._counter += 1
        self.tasks[self._counter] = Leased(body, deliveries)
        self._ready.append(self._counter)

    def add_retry(self, body: bytes, due: float) -> None:
        """Keep a task message until ``due``."""
        self._counter += 1
        heapq.heappush(self.retries, (due, self._counter, body))

    def promote(self, now: float) -> int:
        """Move the retries that are due to the work queue; returns how many."""
        count = 0
        while self.retries and self.retries[0][0] <= now:
            self.add_task(heapq.heappop(self.retries)[2])
            count += 1
        return count

    def lease_next(self, owner: str, now: float, deadline: float) -> tuple[int, Leased] | None:
        """Hand the oldest ready task to ``owner``."""
        while self._ready:
            number = self._ready.popleft()
            task = self.tasks.get(number)
            if task is None:
                continue
            task.owner, task.heard_at, task.deadline, task.how = owner, now, deadline, "lease"
            task.deliveries += 1
            heapq.heappush(self._deadlines, (deadline, number))
            return number, task
        return None

    def owned(self, number: int, owner: str, deliveries: int) -> Leased | None:
        """The task, if ``owner`` still holds it from that very delivery."""
        task = self.tasks.get(number)
        return task if task and task.owner == owner and task.deliveries == deliveries else None

    def prolong(self, number: int, now: float, deadline: float) -> None:
        """Renew the lease of a task that is owned."""
        task = self.tasks[number]
        task.heard_at, task.deadline = now, deadline
        heapq.heappush(self._deadlines, (deadline, number))

    def free(self, number: int) -> None:
        """Put a leased task back to the front of the queue."""
        self.tasks[number].owner = None
        self._ready.appendleft(number)

    def redeliver(self, owner: str) -> int:
        """Put everything ``owner`` holds back although it lives: nobody was lost. Returns how many."""
        held = [number for number, task in self.tasks.items() if task.owner == owner]
        for number in held:
            task = self.tasks.pop(number)
            self.add_task(task.body, task.deliveries - 1)
        return len(held)

    def free_all(self, owner: str) -> int:
        """Put everything ``owner`` holds back; returns how many."""
        held = [number for number, task in self.tasks.items() if task.owner == owner]
        for number in reversed(held):
            self.free(number)
        return len(held)

    def expire(self, owner: str, now: float) -> None:
        """The connection of ``owner`` is gone: what it holds is due for takeover now."""
        for number, task in self.tasks.items():
            if task.owner == owner:
                task.deadline, task.how = now, "connection"
                heapq.heappush(self._deadlines, (now, number))

    def take_over(self, now: float) -> list[Takeover]:
        """Free every task whose lease ran out, and say whose they were."""
        lost: dict[tuple[str, str], list[float]] = {}
        while (due := self._next_deadline()) is not None and due <= now:
            number = heapq.heappop(self._deadlines)[1]
            task = self.tasks[number]
            lost.setdefault((task.owner or "", task.how), []).append(now - task.heard_at)
            self.free(number)
        return [Takeover(owner, how, len(silent), max(silent)) for (owner, how), silent in lost.items()]

    def next_due(self) -> float | None:
        """When the next retry or lease is due, if any."""
        dues = [self._next_deadline(), self.retries[0][0] if self.retries else None]
        return min((due for due in dues if due is not None), default=None)

    def _next_deadline(self) -> float | None:
        # Renewed, settled and freed leases leave stale entries in the heap; they are dropped when they surface.
        while self._deadlines:
            deadline, number = self._deadlines[0]
            task = self.tasks.get(number)
            if task and task.owner is not None and task.deadline == deadline:
                return deadline
            heapq.heappop(self._deadlines)
        return None

    # -- settling

    def settle(self, number: int, outcome: Outcome, now: float) -> None:
        """Make ``outcome`` of an owned task true."""
        identity = outcome.header.identity
        del self.tasks[number]
        self.results.append(encode(outcome.header), identity, outcome.payload)
        for letter in outcome.header.dead:
            self.letters.append(encode(letter), identity)
        del self.letters.entries[:-LETTERS_KEPT]
        for task in outcome.retries:
            self.add_retry(encode(task), now + outcome.retry_delay_ms / 1000)
        for task in outcome.remainder:
            self.add_task(encode(task))

    def quarantine(self, number: int) -> None:
        """Move an undecodable task message to the dead letters."""
        self.letters.append(self.tasks.pop(number).body)

    # -- cleaning

    def purge(self, record: RunRecord | None, dry_run: bool) -> dict[str, int]:
        """Count, and unless ``dry_run`` remove, what belongs to a run (``None``: everything), by queue."""

        def is_doomed(identity: str | None) -> bool:
            return record is None or identity == record.identity

        tasks = [number for number, task in self.tasks.items() if is_doomed(identity_of(task.body))]
        retries = [retry for retry in self.retries if is_doomed(identity_of(retry[2]))]
        logs = {"tasks.dlq": self.letters, "results": self.results} | ({} if record else {"events": self.events})
        runs = [run for run in self.runs if is_doomed(identity_of(self.runs[run]))]
        counts = {"tasks": len(tasks), "tasks.retry": len(retries), "runs": len(runs)}
        counts |= {name: sum(is_doomed(entry.identity) for entry in log.entries) for name, log in logs.items()}
        if not dry_run:
            self._drop(tasks, retries, runs)
            for log in logs.values():
                log.remove(lambda entry: is_doomed(entry.identity))
        return counts

    def _drop(self, tasks: Iterable[int], retries: list[tuple[float, int, bytes]], runs: Iterable[str]) -> None:
        for number in tasks:
            del self.tasks[number]
        numbers = {retry[1] for retry in retries}
        self.retries = [retry for retry in self.retries if retry[1] not in numbers]
        heapq.heapify(self.retries)
        for name in runs:
            record = self.record(name)
            self.specs.pop(record.identity if record else "", None)
            del self.runs[name]
