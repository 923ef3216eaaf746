"""What goes wrong in one simulated run, drawn from a seed: small, complete, and printed when the run fails."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass, field

from simulation.child import Poison

FAULTY_SECONDS = 6.0


class Kind(enum.Enum):
    """What goes wrong."""

    KILL_WORKER = "a worker is killed"
    KILL_CHILD = "a child is killed"
    RETIRE_WORKER = "a worker is told to leave"
    FREEZE_WORKER = "a worker hangs, or its network does"
    DROP_CONNECTION = "a connection breaks"
    KILL_COORDINATOR = "the coordinator is killed, and the run resumed"
    STOP_COORDINATOR = "the coordinator is interrupted, and the run resumed"
    STOP_BROKER = "the broker is away"
    LOSE_EVERYTHING = "the broker forgets everything"
    LOSSY = "requests and replies get lost"
    SLOW = "the broker is slow"
    FULL = "the broker takes no more data"
    DISK_FULL = "the disk of the results is full"
    GARBAGE = "strangers' messages arrive on every queue"
    REPLAY = "old messages arrive again"
    CLOCK_JUMP = "the wall clock jumps"
    STALL = "a queue confirms or delivers nothing"
    REPLACE_LOG = "a queue is deleted and made again"
    FAILOVER = "a failover loses the last seconds"
    READ_ONLY = "the broker takes no writes"
    REFUSED = "the broker refuses what it took before"
    REDELIVER = "tasks are delivered again although their worker lives"


QUEUES = ("tasks", "results", "events", "runs")
OF_A_QUEUE = {Kind.STALL, Kind.REPLACE_LOG, Kind.FAILOVER}

# At these moments the actor that lives through them is killed; those with "!" are just after the broker acted.
WORKER_MOMENTS = (
    "leased",
    "assigned",
    "announced",
    "reported",
    "before_settle",
    "after_settle",
    "child_died",
    "lease",
    "settle",
    "renew",
    "lease!",
    "settle!",
    "renew!",
)
COORDINATOR_MOMENTS = (
    "submit",
    "submit!",
    "swap_run",
    "read_results!",
    "trim_results",
    "trim_results!",
    "write",
    "written",
)


@dataclass(frozen=True)
class Fault:
    """``kind`` happens at ``at`` seconds and lasts ``seconds``; ``pick`` (0 to 1) chooses the victim, or ``queue``
    names it.

    With a ``moment``: it happens to whoever lives through that moment for the ``count``-th time.
    """

    kind: Kind
    at: float = 0.0
    seconds: float = 0.0
    pick: float = 0.0
    moment: str = ""
    count: int = 0
    queue: str = ""

    def __str__(self) -> str:
        when = f"at moment {self.moment!r} number {self.count}" if self.moment else f"at {self.at:.3f} s"
        lasting = f" for {self.seconds:.2f} s" if self.seconds else ""
        return f"{when}: {self.kind.value}{lasting} (pick {self.pick:.3f}{self.queue and ', '}{self.queue})"


@dataclass(frozen=True)
class Scenario:
    """One run and its misfortunes. Equal seeds give equal scenarios, and equal runs."""

    seed: int
    size: int
    chunk_size: int | None
    workers: int
    slots: int
    call_seconds: float
    slice_size: int
    start_seconds: float
    keep_result_bytes: int
    travel_seconds: float
    loss: float
    poisons: dict[int, Poison] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    @classmethod
    def drawn(cls, seed: int) -> Scenario:
        """The scenario of ``seed``."""
        draw = random.Random(seed)
        size = draw.choice((7, 30, 60, 120))
        return cls(
            seed=seed,
            size=size,
            chunk_size=draw.choice((None, 1, 5, 16)),
            workers=draw.randint(1, 3),
            slots=draw.randint(1, 2),
            call_seconds=draw.choice((0.001, 0.01, 0.05)),
            slice_size=draw.choice((1, 4)),
            start_seconds=draw.choice((0.05, 0.3, 1.2)),
            keep_result_bytes=draw.choice((0, 1 << 20)),
            travel_seconds=draw.choice((0.0, 0.001, 0.02)),
            loss=draw.choice((0.0, 0.0, 0.001, 0.01)),
            poisons=_poisons(draw, size),
            faults=tuple(_fault(draw) for _ in range(draw.randint(0, 5))),
        )

    @property
    def dead(self) -> set[int]:
        """The parameters that must end as dead letters: those that fail each time."""
        return {index for index, poison in self.poisons.items() if poison is not Poison.FAILS_ONCE}

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.size} parameters, chunks of {self.chunk_size or 'automatic size'}"]
        lines.append(
            f"  {self.workers} workers with {self.slots} slots, {self.call_seconds} s a call, loss {self.loss}"
        )
        lines += [f"  parameter {index}: {poison.value}" for index, poison in self.poisons.items()]
        return "\n".join(lines + [f"  {fault}" for fault in self.faults])


def _poisons(draw: random.Random, size: int) -> dict[int, Poison]:
    count = draw.choice((0, 0, 1, 2))
    return {draw.randrange(size): draw.choice(list(Poison)) for _ in range(count)}


def _fault(draw: random.Random) -> Fault:
    if draw.random() < 0.4:
        return _fault_at_a_moment(draw)
    kind = draw.choice(list(Kind))
    at, seconds, pick = draw.uniform(0.0, FAULTY_SECONDS), draw.choice((0.3, 1.0, 4.0)), draw.random()
    if kind is Kind.STALL:
        seconds *= 3
    return Fault(kind, at, seconds, pick, queue=draw.choice(QUEUES) if kind in OF_A_QUEUE else "")


def _fault_at_a_moment(draw: random.Random) -> Fault:
    if draw.random() < 0.6:
        return Fault(Kind.KILL_WORKER, moment=draw.choice(WORKER_MOMENTS), count=draw.randint(1, 8))
    return Fault(Kind.KILL_COORDINATOR, moment=draw.choice(COORDINATOR_MOMENTS), count=draw.randint(1, 4))
