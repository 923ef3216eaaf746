"""Process trees as /proc shows them: who belongs to a case, how much memory they hold, and how to end them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

MARK_VARIABLE = "BENCH_CASE"
"""Every process of a case inherits this variable: daemons that left the tree are still recognised."""

SAMPLE_SECONDS = 0.05


def pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def parent_of(pid: int) -> int:
    """Parent's pid; 0 when the process is gone. The name in field 2 may hold blanks and brackets."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def descendants(root: int) -> set[int]:
    """``root`` and everything below it."""
    parents = {pid: parent_of(pid) for pid in pids()}
    found = {root}
    while added := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= added
    return found


def marked(mark: str) -> set[int]:
    """Processes that carry the mark of a case, however they were started."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    return {pid for pid in pids() if wanted in environment_of(pid)}


def environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def members(mark: str) -> set[int]:
    """Processes of a case: marked ones and all below them (Ray's workers overwrite their environment)."""
    parents = {pid: parent_of(pid) for pid in pids()}
    found = marked(mark) - {os.getpid()}
    while added := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= added
    return found


def kill_tree(root: int) -> None:
    """SIGKILL ``root`` and everything below it, children first noted so that none slips away."""
    kill_all(descendants(root))


def kill_all(victims: set[int]) -> None:
    for pid in victims - {os.getpid()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pss_kib(pid: int) -> int:
    """Proportional set size: shared pages count once, split among those who share them."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


class PeakMemory:
    """Samples the memory of a whole case from a thread; ``mib`` is the peak of the sum."""

    def __init__(self, mark: str) -> None:
        self.mib = 0.0
        self._mark = mark
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Idempotent; also fine when it was never started."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _sample(self) -> None:
        last = False
        while not last:
            last = self._stopped.wait(SAMPLE_SECONDS)  # one more sample when stopped: short cases end between two
            total = sum(pss_kib(pid) for pid in members(self._mark))
            self.mib = max(self.mib, total / 1024)
