"""What ties a child to its supervisor, and what bounds it. Linux has the strong forms, others the portable ones.

Each function is called in the process that it is about.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path

from ttg import descendants
from ttg.function.spawning import end_programs

MARK = "TTG_CHILD"
"""The variable by which everything that a child starts is recognised as its own."""

NOTED_SECONDS = 10.0
_UNKNOWN = [0] * 7
_BURST_BYTES = 256 << 20

_ORPHANS_SECONDS, _POLL_SECONDS = 1.0, 0.002

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def die_with_parent(parent: int, parent_pipe: int) -> None:
    """End this process when ``parent`` is gone.

    Two ways: the kernel's parent-death signal (Linux), which no user code can hold up, and a thread that waits for the
    end of the ``parent_pipe`` pipe, whose other end only the parent has.
    """
    descendants.die_with_parent_thread()
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_wait_for_end_of, args=(parent_pipe,), daemon=True, name="ttg-parent-pipe").start()


def _wait_for_end_of(parent_pipe: int) -> None:
    """The parent never writes. A read error means that user code closed the descriptor: the other way remains."""
    try:
        while os.read(parent_pipe, 1):
            pass
    except OSError:
        return
    end_programs()
    os.killpg(0, signal.SIGKILL)


def noted_after(limit_seconds: float) -> float:
    """After how many seconds of an import it is told where it hangs."""
    return min(NOTED_SECONDS, 0.5 * limit_seconds)


def limit_memory(memory_bytes: int | None) -> None:
    """Let allocations far beyond the limit fail with ``MemoryError`` at once, before the supervisor could notice.

    The address space that a process reserves exceeds what it uses, and inputs of the run are mapped in it already, so
    this only stops bursts; the limit itself is watched by the supervisor (:func:`private_bytes`).
    """
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if memory_bytes is None else _reserved_bytes() + 2 * memory_bytes + _BURST_BYTES
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _reserved_bytes() -> int:
    return _statm("self")[5] * _PAGE_BYTES


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where it cannot be told (not Linux, or the process is gone)."""
    return _statm(pid)[1] * _PAGE_BYTES


def private_bytes(pid: int) -> int:
    """The same without mapped files, which it may share with others."""
    pages = _statm(pid)
    return (pages[1] - pages[2]) * _PAGE_BYTES


def bytes_with_descendants(pid: int, doubtful: int | None = None) -> int:
    """Private memory of a process and of all below it. What those share that one of them has forked is counted once
    for each, unless the sum is more than ``doubtful``: then it is looked at closely, which takes longer."""
    family = [pid, *descendants.below(pid)]
    total = sum(map(private_bytes, family))
    return total if doubtful is None or total <= doubtful or len(family) == 1 else sum(map(_proportional_bytes, family))


def _proportional_bytes(pid: int) -> int:
    """Anonymous memory, where each page that several processes share is divided by their number."""
    with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
        for line in rollup:
            if line.startswith(b"Pss_Anon:"):
                return int(line.split()[1]) << 10
    return private_bytes(pid)


def _statm(process: int | str) -> list[int]:
    try:
        with open(f"/proc/{process}/statm", "rb") as statm:
            return [int(pages) for pages in statm.read().split()] or _UNKNOWN
    except OSError:
        return _UNKNOWN


def end_orphans(variable: str, mark: str) -> None:
    """Kill what a dead child left behind: adopted processes in whose environment ``variable`` is ``mark``, theirs, and
    so on. Blocking, for a second at most. One that cleared its environment is not recognised."""
    wanted = f"{variable}={mark}".encode()
    deadline = time.monotonic() + _ORPHANS_SECONDS
    while (left := list(_marked(wanted))) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _marked(wanted: bytes) -> Iterator[int]:
    """Adopted processes that are marked, and those that are dying: what they started is adopted when they are dead."""
    for pid in descendants.children_of(os.getpid()):
        with suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if state != b"Z" and (not environment or wanted in environment.split(b"\0")):
                yield pid


def reap_orphans(ours: Container[int]) -> None:
    """Take note of the end of adopted processes; whoever started those of ``ours`` waits for them."""
    if not _somebody_ended():
        return
    for pid in descendants.children_of(os.getpid()):
        if pid not in ours:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _somebody_ended() -> bool:
    """Whether there is an end of a child to take note of: one call, where looking for all children is many."""
    with suppress(ChildProcessError):
        return sys.platform != "linux" or os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False
