"""What the dashboard does to runs: by a `ttg retry` or `ttg cancel` of its own, as if a person had typed it here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ttg.errors import InputError
from ttg.results.dead_letters import Cause, causes
from ttg.results.folder import RunFolder, find_run

POLL_SECONDS = 0.05
CANCEL_SECONDS = 60


@dataclass
class Retrier:
    """Call it with (run, kind, error, place). The processes it starts outlive this one.

    ``environment`` is what they get beside our own: the broker, where the run's is not their own.
    """

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, run: str, kind: str, error: str, place: str) -> int:
        """How many parameters are tried again. Returns when they are on their way; ``InputError`` when they cannot be,
        ``RunConflictError`` while the run is still going on."""
        folder = find_run(run, self.home)
        with folder.lock():
            number, cause = _cause(folder, error, place)
        log = folder.logs / "retry.log"
        said = log.stat().st_size if log.exists() else 0
        process = self._start(folder, number, log)
        while not _has_begun(folder, process):
            time.sleep(POLL_SECONDS)
        if process.poll() and not _is_later(folder):
            raise InputError(_last_line(log, said) or f"`ttg retry {run}` ended with exit code {process.returncode}")
        return cause.count

    def _start(self, folder: RunFolder, number: int, log: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "ttg", "retry", str(folder.path), "--group", str(number)]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        threading.Thread(target=process.wait, name=f"retry-{process.pid}", daemon=True).start()  # leaves no zombie
        return process


@dataclass
class Canceller:
    """Call it with a run's folder or id: a `ttg cancel` ends it, and what that says is returned."""

    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, run: str) -> str:
        """``InputError`` with its words when it cannot."""
        command = [sys.executable, "-P", "-m", "ttg", "cancel", run]
        environment = {**os.environ, **self.environment}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=CANCEL_SECONDS, env=environment)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"`ttg cancel {run}` has not ended within {CANCEL_SECONDS} s: look at the run") from error
        said = (done.stderr.strip().splitlines() or [""])[-1].removeprefix("ttg: ")
        if done.returncode:
            raise InputError(said or f"`ttg cancel {run}` ended with exit code {done.returncode}")
        return said


def _cause(folder: RunFolder, error: str, place: str) -> tuple[int, Cause]:
    """The cause and its number as `ttg retry --group` counts."""
    for number, cause in enumerate(causes(folder), 1):
        if (cause.error, cause.place) == (error, place):
            return number, cause
    raise InputError(f"nothing to retry: no parameter of run {folder.spec.run} is dead of {error} at {place} any more")


def _has_begun(folder: RunFolder, process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None or _is_later(folder)


def _is_later(folder: RunFolder) -> bool:
    """Whether somebody has written to the run since ``folder`` was read."""
    return RunFolder.open(folder.path).info.updated > folder.info.updated


def _last_line(log: Path, after: int) -> str:
    lines = log.read_bytes()[after:].decode(errors="replace").splitlines()
    return lines[-1].removeprefix("ttg: ") if lines else ""
