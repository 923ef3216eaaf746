"""Worker processes on this machine, started and ended by the coordinator."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from ttg.settings import Settings
from ttg.worker.launching import ROOM_FOR_MARK
from ttg.worker.protocol import CALLER_PATH
from ttg.worker.shares import visible_gpus

log = logging.getLogger("ttg.run")

STOP_GRACE_SECONDS = 15.0
QUICK_DEATH_SECONDS = 5.0
MAX_QUICK_DEATHS = 5


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How a local worker is started: ``arguments`` follow ``python -P -m ttg worker``; each has ``gpus``
    of its own."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    logs: Path
    keep_open: tuple[int, ...] = ()
    gpus: int = 0

    def environment_of(self, number: int) -> dict[str, str]:
        """That of the worker with that number, counted from 0."""
        return {**self.environment, **visible_gpus(self.environment, number * self.gpus, self.gpus)}


def worker_environment(settings: Settings, url: str, retry_delay_ms: int, path: Sequence[str]) -> dict[str, str]:
    """This process's, with what a worker for the broker at ``url`` is to know; ``path`` is the caller's."""
    ours = {
        "TTG_BROKER": url,
        "TTG_NAMESPACE": settings.namespace,
        "TTG_LEASE_SECONDS": str(settings.lease_seconds),
        "TTG_RETRY_DELAY_MS": str(retry_delay_ms),
        CALLER_PATH: os.pathsep.join(path),
        "TTG_CREDENTIALS_COMMAND": settings.credentials_command,
        "TTG_SECRET": settings.secret,
    }
    return {**os.environ, **{name: value for name, value in ours.items() if value}}


@dataclass
class LocalWorkers:
    """``count`` worker processes, each in a session of its own, so that a Ctrl-C reaches only the coordinator.

    Each holds the read end of a parent pipe whose write end only this process has: when the coordinator dies, however
    it dies, the workers see the end of the pipe, settle what they have and leave. ``keep_open`` descriptors are
    inherited by the workers (the embedded server's parent pipe). With ``replace``, a worker that dies unasked is
    started again, unless several die within seconds: then something is wrong with the machine, not with the worker.
    That one cannot be started for now, because there are too many processes, say, is tried again at each look.
    Workers are numbered from ``first``.
    """

    command: WorkerCommand
    count: int
    replace: bool = True
    first: int = 1
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    started_at: dict[int, float] = field(default_factory=dict)
    quick_deaths: int = 0
    lives: Counter[int] = field(default_factory=Counter)
    tag: str = field(default_factory=lambda: secrets.token_hex(2))
    _parent_pipe: tuple[int, int] | None = None
    _due: set[int] = field(default_factory=set)
    _troubled: bool = False

    def start(self) -> None:
        """Start all of them; returns at once."""
        self._parent_pipe = os.pipe()
        for number in range(self.first, self.first + self.count):
            self._start_one(number)

    def _start_one(self, number: int) -> None:
        assert self._parent_pipe is not None
        parent_pipe = self._parent_pipe[0]
        self.lives[number] += 1
        command = [sys.executable, "-P", "-m", "ttg", "worker", *self.command.arguments]
        command += ["--parent-pipe-fd", str(parent_pipe)]
        self.command.logs.mkdir(parents=True, exist_ok=True)  # again, if somebody has removed it
        path = (self.command.logs / f"worker-{number}.log").absolute()
        with path.open("ab") as log:
            self.processes[number] = subprocess.Popen(
                [*command, "--name", self._name(number), "--log-file", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**ROOM_FOR_MARK, **self.command.environment_of(number - self.first)},
                pass_fds=(parent_pipe, *self.command.keep_open),
                start_new_session=True,
            )
        self.started_at[number] = monotonic()

    def _name(self, number: int) -> str:
        """``w1-3f2a``; ``w1.2-3f2a`` for its replacement. A name is a consumer of the broker, and never used again."""
        life = f".{self.lives[number]}" if self.lives[number] > 1 else ""
        return f"w{number}{life}-{self.tag}"

    def look(self, drained: Collection[str] = ()) -> list[int]:
        """Reap the dead and replace them; returns the exit codes of those that died unasked since the last look. Those
        that are to be ``drained`` were asked."""
        codes = []
        for number, process in list(self.processes.items()):
            code = process.poll()
            if code is None:
                continue
            if self._name(number) in drained:
                self.count -= 1
            else:
                codes.append(code)
                self._count_death(number)
                if self.replace and self.quick_deaths < MAX_QUICK_DEATHS:
                    self._due.add(number)
            del self.processes[number]
        if self._due:
            self._start_due()
        return codes

    def _start_due(self) -> None:
        try:
            for number in sorted(self._due):
                self._start_one(number)
                self._due.remove(number)
            self._troubled = False
        except OSError as error:
            if not self._troubled:
                log.warning("a local worker cannot be started for now: %s", error)
            self._troubled = True

    def _count_death(self, number: int) -> None:
        quick = monotonic() - self.started_at[number] < QUICK_DEATH_SECONDS
        self.quick_deaths = self.quick_deaths + 1 if quick else 0

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by the names of the workers."""
        return {self._name(number): process.pid for number, process in self.processes.items()}

    @property
    def alive(self) -> int:
        """How many are running."""
        return len(self.processes)

    @property
    def hopeless(self) -> bool:
        """All are gone and none will be started again. May be asked from other threads."""
        return self.count > 0 and not self.processes and not self._due

    async def stop(self) -> None:
        """SIGTERM (they drain), wait up to :data:`STOP_GRACE_SECONDS`, then SIGKILL. Idempotent."""
        self._signal(signal.SIGTERM)
        deadline = monotonic() + STOP_GRACE_SECONDS
        while self._reap() and monotonic() < deadline:  # noqa: ASYNC110 - a process's end is no asyncio event
            await asyncio.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        """SIGKILL whoever is left, and close the parent_pipe."""
        self._due.clear()
        self._signal(signal.SIGKILL)
        for process in self.processes.values():
            process.wait()
        self.processes.clear()
        if self._parent_pipe is not None:
            for end in self._parent_pipe:
                os.close(end)
            self._parent_pipe = None

    def _reap(self) -> int:
        for number, process in list(self.processes.items()):
            if process.poll() is not None:
                del self.processes[number]
        return len(self.processes)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(number)
                process.send_signal(signal.SIGCONT)  # a stopped process hears of nothing else


def log_tail(logs: Path, lines: int = 5) -> str:
    """The last lines of the newest worker log, for an error message; without their summaries."""
    files = sorted(logs.glob("worker-*.log"), key=lambda file: file.stat().st_mtime)
    if not files:
        return ""
    said = files[-1].read_text(errors="replace").splitlines()
    return "\n".join([line for line in said if not line.startswith(("{", "}", '  "'))][-lines:])
