"""How far a run is and how fast it goes: figures for people, from committed state only. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ttg.messages import RunStatus

RATE_WINDOW_SECONDS = 10.0


@dataclass
class Throughput:
    """Parameters per second over the last :data:`RATE_WINDOW_SECONDS`, from ``(time, total)`` samples."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def saw(self, now: float, total: int) -> None:
        """``total`` parameters were settled by ``now`` (monotonic seconds)."""
        self.samples.append((now, total))
        while len(self.samples) > 2 and self.samples[1][0] < now - RATE_WINDOW_SECONDS:
            self.samples.popleft()

    @property
    def rate(self) -> float:
        """Parameters per second; 0.0 while unknown."""
        if len(self.samples) < 2:
            return 0.0
        (first, before), (last, after) = self.samples[0], self.samples[-1]
        return (after - before) / (last - first) if last > first else 0.0


@dataclass
class RetryCount:
    """How many parameters wait for their next attempt, from the headers of settled tasks."""

    waiting: int = 0

    def saw(self, attempt: int, settled: int, failed: int) -> None:
        """A task on ``attempt`` settled ``settled`` parameters for good and failed ``failed`` that will be retried."""
        if attempt == 1:
            self.waiting += failed
        else:
            self.waiting = max(0, self.waiting - settled)


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a run: of ``total`` parameters ``done`` have a result and ``dead`` are given up, after ``seconds``.

    ``rate`` is in parameters per second, over the last ten; ``eta_seconds`` ``None`` while there is no rate to tell it
    from. ``cause`` is the commonest one of what failed, ``note`` what the run waits for."""

    run: str
    total: int
    done: int = 0
    dead: int = 0
    retrying: int = 0
    rate: float = 0.0
    workers: int = 0
    seconds: float = 0.0
    state: RunStatus = RunStatus.ACTIVE
    note: str = ""
    cause: str = ""

    @property
    def settled(self) -> int:
        """Results plus dead letters."""
        return self.done + self.dead

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the end at the present rate."""
        return (self.total - self.settled) / self.rate if self.rate > 0 else None
