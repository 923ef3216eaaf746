"""The broker contract: effects, not mechanisms. ``tests/contract`` holds every implementation to it.

A broker is **transport**: the truth about what is settled is the coordinator's ledger. It offers

- a work queue of tasks with *leases*: a leased task belongs to one consumer until it is settled or released, until the
  consumer is seen dead (within about a second, where the broker can tell), or until the lease ran out;
- *settle*: record an outcome and remove the task as one step. A consumer that no longer owns the task is told so and
  leaves no trace: nothing of its outcome appears. (RabbitMQ cannot fence a publish; there a duplicate result may appear
  after a lost connection, and the ledger drops it by index.)
- delayed retries, kept in the broker;
- two logs, results and events, read without consuming, by several readers, from any offset;
- dead letters for people to look at, bounded;
- the run records, changed by compare-and-set, from which a worker that knows only the broker's address learns what to
  execute.

All verbs are coroutines of one event loop and are safe to call concurrently from several tasks of it. Each raises only
:class:`~ttg.errors.BrokerError` subclasses. After :class:`~ttg.errors.BrokerUnavailable` the same object may be used
again: it reconnects by itself when called; leases held before may be lost and ``settle`` then says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ttg.clock import unix_time
from ttg.errors import BrokerUnavailable, SettingsError
from ttg.messages import AnyEvent, Outcome, ResultHeader, RunRecord, RunStatus, Task

MOST_RACES = 20
RUNS_KEPT = 50
RESULTS_KEPT_BYTES = 64 << 20
LETTERS_KEPT = 10_000
LETTERS_KEPT_SECONDS = 7 * 86_400.0

SCHEMES = {
    **dict.fromkeys(("redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix"), "redis"),
    **dict.fromkeys(("amqp", "amqps"), "rabbitmq"),
    "memory": "memory",
}
"""Who speaks which scheme of a broker URL: a folder beside this module each."""


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """Where the broker is and how TTG uses it. Made in one place, :mod:`ttg.settings`; never read from elsewhere.

    ``url`` may hold credentials: print ``masked_url`` only. ``namespace`` prefixes every queue, stream and key.
    ``lease_seconds``: how long a silent consumer keeps its tasks. ``retry_delay_ms`` names the RabbitMQ retry queue's
    fixed delay. ``queue_type``: ``quorum`` or ``classic`` (RabbitMQ). ``events_kept`` bounds the events log.
    ``credentials_command``: see :mod:`ttg.brokers.credentials`.
    """

    url: str = field(repr=False)
    namespace: str = "ttg"
    lease_seconds: float = 15.0
    heartbeat_seconds: float = 5.0
    retry_delay_ms: int = 5000
    queue_type: str = "quorum"
    events_kept: int = 20_000
    connect_timeout_seconds: float = 5.0
    tls: dict[str, str] = field(default_factory=dict)
    credentials_command: str = field(default="", repr=False)

    @property
    def masked_url(self) -> str:
        """The URL with its password replaced by ``***``."""
        head, at, tail = self.url.rpartition("@")
        if not at:
            return self.url
        scheme, _, credentials = head.partition("://")
        user, colon, _ = credentials.partition(":")
        return f"{scheme}://{user}{':***' if colon else ''}@{tail}"


def backend_of(url: str) -> str:
    """Who speaks the scheme of ``url``. Raises :class:`~ttg.errors.SettingsError` when nobody does."""
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        expected = "redis://, rediss://, unix://, amqp:// or amqps://"
        scheme = "amqp" if url.endswith(("5672", "5671")) else "redis"
        meant = "" if "://" in url else f": did you mean {scheme}://{BrokerConfig(url).masked_url}?"
        raise SettingsError(
            f"expected a broker URL that starts with {expected}, got {BrokerConfig(url).masked_url!r}{meant}"
        )
    return SCHEMES[scheme]


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A leased task. ``token`` is the backend's own proof of ownership. ``deliveries`` counts how often the broker has
    handed it out (1: first time; best effort, never lower than the truth by more than the broker forgot)."""

    task: Task
    token: Any
    deliveries: int = 1


@dataclass(frozen=True, slots=True)
class Settlement:
    """A delivery and what became of it."""

    delivery: Delivery
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ResultMessage:
    """One entry of the results log. ``cursor`` orders entries: pass the last one seen to read on."""

    cursor: str
    header: ResultHeader
    payload: bytes


@dataclass(frozen=True, slots=True)
class QueueStats:
    """One queue as the broker's own tools show it. ``None``: this broker cannot tell.

    ``messages`` = ``ready`` + ``unacknowledged``.
    """

    name: str
    messages: int
    ready: int | None = None
    unacknowledged: int | None = None
    consumers: int | None = None


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """Queues in a fixed order: tasks, retry, dead letters, results, events."""

    backend: str
    version: str
    queues: tuple[QueueStats, ...]

    def queue(self, suffix: str) -> QueueStats:
        """The queue whose name ends with ``suffix`` (``tasks``, ``tasks.retry``, ``tasks.dlq``, ``results``)."""
        return next(queue for queue in self.queues if queue.name.endswith("." + suffix))


@dataclass(frozen=True, slots=True)
class Unserved:
    """A queue of ours that serves nobody, and does not come back by itself. ``messages`` (``None``: nobody can tell how
    many) are lost when it is replaced. With ``obstacle`` it cannot be, from here: what somebody else has to do."""

    name: str
    why: str
    messages: int | None = None
    obstacle: str = ""


class Broker(ABC):
    """See the module's text for the promises; each verb says only what is its own.

    ``consumer`` identifies this client in leases, logs and events (a worker's name; unique per process).
    ``processes`` are those that this client has started and waits for itself.
    """

    backend: str

    def __init__(self, config: BrokerConfig, consumer: str) -> None:
        self.config = config
        self.consumer = consumer
        self.processes: set[int] = set()

    # -- lifecycle

    @abstractmethod
    async def open(self) -> None:
        """Connect and create what is missing. Idempotent.

        Raises ``BrokerUnavailable`` (nobody answers), ``BrokerRefused`` (credentials, or queues with other arguments).
        """

    @abstractmethod
    async def close(self) -> None:
        """Disconnect. Leases still held become free for others at once. Idempotent, never raises."""

    # -- runs: shared verbs over four hooks, so that the rules are the same on every broker

    async def change_run(
        self, run: str, change: Callable[[RunRecord | None], RunRecord | None], spec: bytes | None = None
    ) -> RunRecord | None:
        """Compare-and-set: make ``change`` of the record as it is true, whoever else writes; returns the record then.

        ``change`` is one of :mod:`ttg.messages.records`; it is asked again when somebody was faster, and may raise.
        With ``spec`` the specification is published beside it. A record returned as it was is not written.
        """
        for _ in range(MOST_RACES):
            current = await self.find_run(run, fresh=True)
            wanted = change(current)
            if wanted is None or wanted == current:
                return current
            # Above every earlier revision, even where those are forgotten, as long as clocks differ less than runs do.
            revision = max(int(1000 * unix_time()), current.revision + 1 if current else 0)
            wanted = msgspec.structs.replace(wanted, revision=revision)
            if await self.swap_run(current, wanted, spec):
                return wanted
        raise BrokerUnavailable(f"the record of run {run} changes all the time: is somebody starting it in a loop?")

    async def retire_runs(self, keep_seconds: float) -> list[str]:
        """Let what is over leave the broker: results, letters and records of runs that ended (or were abandoned) more
        than ``keep_seconds`` ago; of finished ones also the oldest beyond :data:`RUNS_KEPT`, and beyond
        :data:`RESULTS_KEPT_BYTES` of results together, but for the one that ended last. Returns the ids."""
        now = unix_time()
        over = [record for record in await self.list_runs() if record.status_at(now) is not RunStatus.ACTIVE]
        over.sort(key=lambda record: record.ended or record.renewed, reverse=True)
        kept, retired = 0, []
        for place, record in enumerate(over):
            kept += record.kept_bytes
            old = now - (record.ended or record.renewed) > keep_seconds
            if old or (place and record.status.is_finished and (kept > RESULTS_KEPT_BYTES or place >= RUNS_KEPT)):
                await self.forget_run(record)
                retired.append(record.run)
        return retired

    @abstractmethod
    async def find_run(self, run: str, *, fresh: bool = False) -> RunRecord | None:
        """The newest record of ``run``. Cheap enough to be asked every second; what was written elsewhere a moment ago
        is certain to be in it only if ``fresh``."""

    @abstractmethod
    async def list_runs(self) -> list[RunRecord]:
        """Every run this broker knows of."""

    @abstractmethod
    async def find_spec(self, record: RunRecord) -> bytes | None:
        """The specification (JSON) that was published with this run; ``None`` if it is another's or not known."""

    @abstractmethod
    async def swap_run(self, old: RunRecord | None, new: RunRecord, spec: bytes | None = None) -> bool:
        """Replace ``old`` by ``new`` if ``old`` (its identity and revision, or there being none) is what the broker has
        now, as one step. ``False``: somebody was faster, nothing happened. For :meth:`change_run`."""

    @abstractmethod
    async def forget_run(self, record: RunRecord) -> None:
        """Remove the record of a run that is over and all of its messages that do not leave by themselves; nothing at
        all if the record has changed since (by its revision): then somebody has taken the run up."""

    # -- tasks

    @abstractmethod
    async def submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks on the work queue; durable when this returns. If it raises, any subset may have been submitted:
        submit again (a doubled task costs time, not correctness)."""

    @abstractmethod
    async def lease(self, limit: int, wait_seconds: float) -> list[Delivery]:
        """Up to ``limit`` tasks, as soon as there is one; an empty list after ``wait_seconds``.

        Also does the maintenance that any consumer owes the others: promotes due retries and takes over tasks of
        consumers that are dead or silent (those come back as deliveries with ``deliveries`` > 1, and a ``WorkerLost``
        event is published). A message that cannot be decoded is moved to the dead letters with a ``MessageQuarantined``
        event; it never raises and is never delivered again. Cancelling the coroutine never loses a task: whatever was
        handed out but not returned becomes free again with the lease at the latest.
        """

    @abstractmethod
    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Prolong leases by ``lease_seconds``; returns those that are *lost* (somebody else's, or gone)."""

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Make outcomes true, each as one step: results appear in the log, retries are scheduled, dead letters filed,
        remainders queued, and the task is gone. ``False``: not yours any more, and nothing was recorded.

        On ``BrokerUnavailable`` it is unknown which took effect: call again with the same settlements; what had been
        settled comes back as ``False``. On ``BrokerFull`` nothing of the failed settlement was recorded.
        """

    # -- logs

    @abstractmethod
    async def read_results(
        self, after: str | None, limit: int, wait_seconds: float, identity: str | None = None
    ) -> list[ResultMessage]:
        """Entries after the cursor (``None``: from the oldest kept), oldest first, only those of one run if its
        ``identity`` is given; at most ``limit``, and no more after some MiB together.

        Waits up to ``wait_seconds`` for the first. An entry that cannot be decoded is skipped with an event.
        """

    @abstractmethod
    async def results_end(self) -> str:
        """The cursor behind all that is in the results log, where a new run starts to read; ``""``: it is empty."""

    @abstractmethod
    async def trim_results(self, identity: str, up_to: str, keep_bytes: int) -> int:
        """The entries of a run up to and including the cursor are collected. Those that this client has read may be
        dropped, oldest first, except for the newest ``keep_bytes`` of them; returns how many bytes of them are still
        there. Entries of other runs are never touched. A backend whose log retires by itself may do nothing."""

    @abstractmethod
    async def publish_events(self, events: Iterable[AnyEvent]) -> None:
        """Append to the events log, which keeps about ``events_kept`` entries. Fire and forget: may be lost."""

    @abstractmethod
    async def read_events(self, after: str | None, limit: int, wait_seconds: float) -> list[tuple[str, AnyEvent]]:
        """Entries after the cursor (``None``: from the oldest kept; ``"$"``: only new ones), oldest first, with their
        cursors; waits up to ``wait_seconds`` for the first. Undecodable entries are skipped."""

    # -- dead letters

    @abstractmethod
    async def take_dead_letters(self, identity: str, indices: Iterable[int]) -> int:
        """Remove the letters of these indices of a run; returns how many. The ledger knows them.

        The queue keeps about :data:`LETTERS_KEPT` letters, the newest ones, for people to look at: all of them are in
        the run's dataset."""

    # -- looking and cleaning

    @abstractmethod
    async def stats(self, *, logs: bool = True) -> BrokerStats:
        """The queues as they are now. Without ``logs`` their lengths may be told as 0: asking for them may mean to read
        some of what is in them."""

    @abstractmethod
    async def purge(self, record: RunRecord | None = None, *, dry_run: bool = False) -> dict[str, int]:
        """Remove everything of one run (of its identity, not of its id), or of the whole namespace: ``{what: count}``.
        Foreign data is never touched, not even looked into. With ``dry_run`` only counts."""

    async def diagnose(self) -> list[tuple[str, str, str, str]]:
        """What ``ttg doctor`` should know of this broker's settings: ``(level, subject, text, advice)`` with level
        ``good``, ``note`` or ``problem``. Changes nothing; a setting that may not be read is a ``note``."""
        return []

    async def unserved(self) -> list[Unserved]:
        """Our queues that serve nobody. Changes nothing."""
        return []

    async def replace(self, unserved: Sequence[Unserved]) -> list[str]:
        """Replace those of these that still serve nobody by new ones, by somebody's decision who knows what is lost;
        those with an obstacle stay. Returns the names of the new ones."""
        return []
