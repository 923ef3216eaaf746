"""How a worker is to behave, and how it says goodbye."""

from __future__ import annotations

import enum
import json
import os
import socket
from dataclasses import asdict, dataclass, field


class Reason(enum.Enum):
    """Why a worker ended. The value is what its summary and its ``WorkerStopped`` event say."""

    FINISHED = "finished"
    IDLE = "idle"
    DRAINED = "drained"
    ABANDONED = "abandoned"
    GAVE_UP = "gave_up"

    @property
    def words(self) -> str:
        """For people."""
        return self.value.replace("_", " ")

    @property
    def exit_code(self) -> int:
        """0 only when there is nothing left to do: a Kubernetes Job replaces a worker that ends with anything else.

        75 (EX_TEMPFAIL) for a worker that was told to go while there was work, or whose run nobody leads any more; 3
        when the broker was out of reach.
        """
        return {Reason.FINISHED: 0, Reason.IDLE: 0, Reason.GAVE_UP: 3}.get(self, 75)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Settings of one worker; made by the command line, never read from the environment here.

    ``allow``: the targets it may run (patterns of :func:`ttg.function.allowed`); ``secret`` checks signed functions.
    ``allow_programs``: the programs it may run.
    ``labels`` are what it has of what runs may need.
    It ends when the run ``until_run_done`` is over, after ``exit_when_idle_seconds`` without a task, or when the pipe
    ``parent_pipe_fd`` ends (its coordinator died). ``grace_seconds`` is how long a drain may take before children are
    killed. ``give_up_seconds`` without a broker end it; ``None`` is never. With ``metrics_port`` it serves ``/metrics``
    and ``/healthz`` on ``metrics_host``.
    """

    name: str
    slots: int = 1
    allow: tuple[str, ...] = ()
    allow_programs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    secret: str | None = field(default=None, repr=False)
    host: str = field(default_factory=socket.gethostname)
    until_run_done: str | None = None
    exit_when_idle_seconds: float | None = None
    parent_pipe_fd: int | None = None
    grace_seconds: float = 8.0
    give_up_seconds: float | None = None
    heartbeat_seconds: float = 1.0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"

    @property
    def offer(self) -> str:
        """What it takes on, for people."""
        slots = f"{self.slots} slot{'' if self.slots == 1 else 's'}"
        only = f", until run {self.until_run_done} is over" if self.until_run_done else ""
        here = f"functions in {os.getcwd()}"
        allowed = ", ".join(here if pattern == "." else pattern for pattern in self.allow or ".")
        having = f" with {', '.join(self.labels)}" if self.labels else ""
        programs = f" and the programs {', '.join(self.allow_programs)}" if self.allow_programs else ""
        return f"{slots}{having} for {allowed}{programs}{only}"


@dataclass(slots=True)
class Summary:
    """What a worker did; the last thing it prints."""

    worker: str
    host: str
    backend: str
    status: str = "running"
    chunks_processed: int = 0
    parameters_processed: int = 0
    parameters_failed: int = 0
    dead_letters: int = 0
    children_died: int = 0
    duration_seconds: float = 0.0
    parameters_per_second: float = 0.0
    slots: int = 1
    exit_code: int = 0
    pid: int = field(default_factory=os.getpid)

    def conclude(self, reason: Reason, seconds: float) -> None:
        """Fill in how it ended, after ``seconds``."""
        self.status, self.exit_code = reason.value, reason.exit_code
        self.duration_seconds = round(seconds, 3)
        self.parameters_per_second = round(self.parameters_processed / seconds, 2) if seconds > 0 else 0.0

    def to_json(self) -> str:
        """The block of lines that a worker's log ends with."""
        return json.dumps(asdict(self), indent=2)
