"""What the dashboard does to runs: by a `ttg retry`, `ttg pause` … of its own, as if a person had typed it here."""

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
from ttg.monitor.web.source import Retrial
from ttg.results.dead_letters import causes
from ttg.results.folder import RunFolder, find_run

POLL_SECONDS = 0.05
COMMAND_SECONDS = 60


@dataclass
class Retrier:
    """Call it with a run and what of it is tried again. The processes it starts outlive this one.

    ``environment`` is what they get beside our own: the broker, where the run's is not their own.
    """

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, run: str, which: Retrial) -> int:
        """How many parameters are tried again. Returns when they are on their way; ``InputError`` when they cannot be,
        ``RunConflictError`` while the run is still going on."""
        folder = find_run(run, self.home)
        with folder.lock():
            words, count = _chosen(folder, which)
        log = folder.logs / "retry.log"
        said = log.stat().st_size if log.exists() else 0
        process = self._start(folder, words, log)
        while not _has_begun(folder, process):
            time.sleep(POLL_SECONDS)
        if process.poll() and not _is_later(folder):
            raise InputError(_last_line(log, said) or f"`ttg retry {run}` ended with exit code {process.returncode}")
        return count

    def _start(self, folder: RunFolder, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "ttg", "retry", str(folder.path), *words]
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
class Commands:
    """Call it with a verb, a run's folder or id, and what else belongs to it: `ttg VERB RUN …` is run, and what that
    says is returned."""

    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, verb: str, run: str, *words: str) -> str:
        """``InputError`` with its words when it cannot."""
        command = [sys.executable, "-P", "-m", "ttg", verb, run, *words]
        environment = {**os.environ, **self.environment}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=environment)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"`ttg {verb} {run}` has not ended within {COMMAND_SECONDS} s: look at the run") from error
        said = (done.stderr.strip().splitlines() or [""])[-1].removeprefix("ttg: ")
        if done.returncode:
            raise InputError(said or f"`ttg {verb} {run}` ended with exit code {done.returncode}")
        return said


def _chosen(folder: RunFolder, which: Retrial) -> tuple[list[str], int]:
    """As `ttg retry` is told it, and how many parameters that are."""
    found, run = causes(folder), folder.spec.run
    if which.index is not None:
        if not any(which.index in cause.indices for cause in found):
            raise InputError(f"nothing to retry: parameter {which.index} of run {run} is not given up any more")
        return ["--index", str(which.index)], 1
    if not which.error:
        return [], sum(cause.count for cause in found)
    for number, cause in enumerate(found, 1):
        if (cause.error, cause.place) == (which.error, which.place):
            return ["--group", str(number)], cause.count
    raise InputError(f"nothing to retry: no parameter of run {run} is dead of {which.error} at {which.place} any more")


def _has_begun(folder: RunFolder, process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None or _is_later(folder)


def _is_later(folder: RunFolder) -> bool:
    """Whether somebody has written to the run since ``folder`` was read."""
    return RunFolder.open(folder.path).info.updated > folder.info.updated


def _last_line(log: Path, after: int) -> str:
    lines = log.read_bytes()[after:].decode(errors="replace").splitlines()
    return lines[-1].removeprefix("ttg: ") if lines else ""
