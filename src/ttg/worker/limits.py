"""What ties a child to its supervisor, and what bounds it. Linux has the strong forms, others the portable ones.

Each function is called in the process that it is about.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
_BURST_BYTES = 256 << 20

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def die_with_parent(parent: int, parent_pipe: int) -> None:
    """End this process when ``parent`` is gone.

    Two ways: the kernel's parent-death signal (Linux), which no user code can hold up, and a thread that waits for the
    end of the ``parent_pipe`` pipe, whose other end only the parent has.
    """
    if sys.platform == "linux":
        _ask_for_parent_death_signal()
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_wait_for_end_of, args=(parent_pipe,), daemon=True, name="ttg-parent-pipe").start()


def _ask_for_parent_death_signal() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _wait_for_end_of(parent_pipe: int) -> None:
    """The parent never writes. A read error means that user code closed the descriptor: the other way remains."""
    try:
        while os.read(parent_pipe, 1):
            pass
    except OSError:
        return
    os.killpg(0, signal.SIGKILL)


def limit_memory(memory_bytes: int | None) -> None:
    """Let allocations far beyond the limit fail with ``MemoryError`` at once, before the supervisor could notice.

    The address space that a process reserves exceeds what it uses, so this only stops bursts; the limit itself is
    watched by the supervisor (:func:`resident_bytes`).
    """
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if memory_bytes is None else 2 * memory_bytes + _BURST_BYTES
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where it cannot be told (not Linux, or the process is gone)."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0
