"""Event logs of runs that never happened: a fleet worked out second by second, as large as a test wants it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from ttg.brokers.base import BrokerStats, QueueStats
from ttg.messages import (
    AnyEvent,
    ChildDied,
    Failure,
    FaultInjected,
    ParametersFailed,
    RunEnded,
    RunProgress,
    RunStarted,
    RunStatus,
    SlotState,
    TaskSettled,
    TasksSettled,
    WorkerHeartbeat,
    WorkerLost,
    WorkerStopped,
)

BEGAN = 1_900_000_000.0
TRACEBACK = """Traceback (most recent call last):
  File "pendulum.py", line 31, in simulate
    step = length / damping
           ~~~~~~~^~~~~~~~~
ZeroDivisionError: float division by zero
"""


@dataclass
class Fleet:
    """``workers`` × ``slots`` work on ``size`` parameters in chunks of ``chunk``, ``call_seconds`` each.

    ``kill_at``: the fraction of the run at which the last worker dies; ``failing``: every so many chunks one parameter
    fails, and every other one of those is given up.
    """

    size: int = 1_000
    chunk: int = 10
    call_seconds: float = 0.1
    workers: int = 3
    slots: int = 1
    kill_at: float | None = None
    failing: int = 0
    run: str = "pendulum-7f3a"
    began: float = BEGAN
    settled_chunks: int = 0
    dead: int = 0
    failed: int = 0
    now: float = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.began
        self.names = [f"w{number}" for number in range(1, self.workers + 1)]
        self.killed = ""
        self.done_by = dict.fromkeys(self.names, 0)
        self.tasks_by = dict.fromkeys(self.names, 0)
        self.busy = {(name, slot): (self.began, 0) for name in self.names for slot in range(self.slots)}
        self.free = [(self.began, name, slot) for name in self.names for slot in range(self.slots)]
        self.next_chunk = 0
        self.orphans: list[int] = []

    @property
    def chunks(self) -> int:
        return -(-self.size // self.chunk)

    @property
    def done(self) -> int:
        return min(self.size, self.settled_chunks * self.chunk) - self.dead

    def events(self) -> Iterator[AnyEvent]:
        """The whole log, in order of time."""
        yield RunStarted(
            at=self.began,
            source="coordinator",
            run=self.run,
            function="pendulum.py:simulate",
            size=self.size,
            names=("length", "damping"),
        )
        while self.settled_chunks < self.chunks:
            yield from self.second()
        yield self.progress()
        yield self.ended()
        for name in self.names:
            if name != self.killed:
                yield WorkerStopped(
                    at=self.now,
                    source=name,
                    worker=name,
                    reason="finished",
                    tasks=self.tasks_by[name],
                    done=self.done_by[name],
                )

    def second(self) -> Iterator[AnyEvent]:
        """What is said during the next second."""
        until = self.now + 1.0
        settled: dict[str, list[TaskSettled]] = {}
        while self.free and self.free[0][0] < until and (self.orphans or self.next_chunk < self.chunks):
            started, worker, slot = heapq.heappop(self.free)
            if worker == self.killed:
                continue
            settled.setdefault(worker, []).append(self.work(started, worker, slot))
        self.now = until
        for worker, tasks in settled.items():
            yield TasksSettled(at=until, source=worker, worker=worker, tasks=tuple(tasks))
            failed, dead = sum(task.failed for task in tasks), sum(task.dead for task in tasks)
            if failed or dead:
                yield self.failure(worker, failed + dead, dead)
        yield from self.heartbeats()
        yield self.progress()
        yield from self.accident()

    def work(self, started: float, worker: str, slot: int) -> TaskSettled:
        taken_over = bool(self.orphans)
        number = self.orphans.pop() if taken_over else self.next_chunk
        self.next_chunk += not taken_over
        self.settled_chunks += 1
        count = min(self.chunk, self.size - number * self.chunk)
        seconds = count * self.call_seconds * (1 + 0.15 * ((number * 7919) % 10 - 5) / 10)
        fails = bool(self.failing) and number % self.failing == self.failing - 1
        dead = int(fails and (number // self.failing) % 2 == 0)
        failed = int(fails) - dead
        self.dead, self.failed = self.dead + dead, self.failed + failed
        self.done_by[worker] += count - dead
        self.tasks_by[worker] += 1
        self.busy[worker, slot] = (started, number)
        heapq.heappush(self.free, (started + seconds, worker, slot))
        return TaskSettled(
            run=self.run,
            task=f"c{number}",
            slot=slot,
            started=started,
            seconds=seconds,
            done=count - dead,
            failed=failed,
            dead=dead,
            deliveries=2 if taken_over else 1,
        )

    def failure(self, worker: str, count: int, dead: int) -> ParametersFailed:
        number = self.settled_chunks
        error, line = ("ZeroDivisionError", 31) if number % 3 else ("OverflowError", 44)
        sample = Failure(
            index=number * self.chunk,
            kind="exception",
            error=error,
            message="float division by zero" if line == 31 else "math range error",
            place=f"pendulum.py:{line} (simulate)",
            traceback=TRACEBACK.replace("31", str(line)).replace("ZeroDivisionError", error),
        )
        return ParametersFailed(
            at=self.now, source=worker, run=self.run, worker=worker, count=count, dead=dead, sample=sample
        )

    def heartbeats(self) -> Iterator[AnyEvent]:
        for name in self.names:
            if name != self.killed:
                yield self.heartbeat(name)

    def heartbeat(self, name: str) -> WorkerHeartbeat:
        slots = tuple(self.slot_state(name, slot) for slot in range(self.slots))
        return WorkerHeartbeat(
            at=self.now,
            source=name,
            worker=name,
            host=f"node-{len(name)}",
            pid=4000 + len(name),
            state="working",
            interval=1.0,
            slots=slots,
            holding=tuple(f"{self.run}/{slot.task}" for slot in slots),
            done=self.done_by[name],
            tasks=self.tasks_by[name],
            started=self.began,
            memory_bytes=42_000_000,
        )

    def slot_state(self, name: str, slot: int) -> SlotState:
        started, number = self.busy[name, slot]
        done = int(min(self.chunk, (self.now - started) / self.call_seconds)) if self.call_seconds else 0
        return SlotState(
            slot, "busy", started, 5000 + slot, self.run, f"c{number}", max(0, done), self.chunk, 61_000_000
        )

    def progress(self) -> RunProgress:
        elapsed = max(self.now - self.began, 1e-9)
        rate = (self.done + self.dead) / elapsed
        left = self.size - self.done - self.dead
        return RunProgress(
            at=self.now,
            source="coordinator",
            run=self.run,
            size=self.size,
            done=self.done,
            dead=self.dead,
            retrying=self.failed if left else 0,
            submitted=self.size,
            chunks_settled=self.settled_chunks,
            rate=rate,
            eta_seconds=left / rate if rate else None,
            workers=self.workers,
        )

    def ended(self) -> RunEnded:
        status = RunStatus.FINISHED_WITH_DEAD_LETTERS if self.dead else RunStatus.FINISHED
        return RunEnded(
            at=self.now,
            source="coordinator",
            run=self.run,
            status=status,
            done=self.done,
            dead=self.dead,
            seconds=self.now - self.began,
        )

    def accident(self) -> Iterator[AnyEvent]:
        """Kill the last worker when its time has come; its chunk goes to the others."""
        if self.kill_at is None or self.killed or self.settled_chunks < self.kill_at * self.chunks:
            return
        self.killed = self.names[-1]
        for slot in range(self.slots):
            self.orphans.append(self.busy[self.killed, slot][1])
        self.settled_chunks -= len(self.orphans)
        yield FaultInjected(at=self.now, source="demo", fault="kill_worker", text=f"SIGKILL to worker {self.killed}")
        yield WorkerLost(
            at=self.now + 0.6, source="w1", worker=self.killed, tasks=self.slots, after_seconds=0.6, how="connection"
        )
        yield ChildDied(
            at=self.now + 0.7,
            source="w1",
            worker="w1",
            slot=0,
            kind="signal",
            text="child died (signal 9)",
            run=self.run,
            task="c9",
            suspects=1,
        )

    def stats(self, backend: str = "redis") -> BrokerStats:
        """The queues as a broker would show them now."""
        waiting = self.chunks - self.next_chunk + len(self.orphans)
        held = min(waiting, (self.workers - bool(self.killed)) * self.slots)
        return BrokerStats(
            backend,
            "7.2",
            (
                QueueStats("ttg.tasks", waiting + held, waiting, held, self.workers - bool(self.killed)),
                QueueStats("ttg.tasks.retry", self.failed),
                QueueStats("ttg.tasks.dlq", self.dead, self.dead, 0, 0),
                QueueStats("ttg.results", self.settled_chunks),
                QueueStats("ttg.events", 3 * self.settled_chunks),
            ),
        )
