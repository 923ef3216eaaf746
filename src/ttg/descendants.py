"""The processes below a process, as far as Linux tells; elsewhere there seem to be none."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_ENDING_SECONDS, _POLL_SECONDS = 1.0, 0.001
_SIGNALS = {number.value: number.name for number in signal.Signals}


def ending_of(code: int) -> str:
    """``exit code 3``, or ``SIGKILL`` for a negative one, which is a signal."""
    return f"exit code {code}" if code >= 0 else _SIGNALS.get(-code, f"signal {-code}")


def die_with_parent_thread() -> None:
    """The kernel is to kill this process when the thread that started it is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def outlive_parent() -> None:
    """No longer; whoever calls this ends by other means."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """What a child of ours leaves behind becomes a child of this process, also from a session of its own."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        _library().prctl(option, value, 0, 0, 0)


@cache
def _library() -> Any:
    """Made once: each program that is called needs it twice, and making it takes 20 µs."""
    import ctypes

    return ctypes.CDLL(None)


def children_of(pid: int) -> list[int]:
    """Of all its threads."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                found += map(int, children.read().split())
    return found


def below(pid: int) -> Iterator[int]:
    """Its children, their children, and so on."""
    for child in children_of(pid):
        yield child
        yield from below(child)


def has_children() -> bool:
    """Whether this process has any, dead ones included: one call, where looking for them is many."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except (AttributeError, OSError):  # a system without it
        return True
    return True


def end_children(spared: Collection[int] = ()) -> None:
    """Kill the children of this process but those ``spared``, and what is adopted by it meanwhile. Blocking, for a
    second at most."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while (left := set(children_of(os.getpid())) - set(spared)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_POLL_SECONDS)
