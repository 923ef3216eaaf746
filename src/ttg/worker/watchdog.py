"""Ends a child that exceeds a limit, and knows the story of each death: from the limit, or from the exit code."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

from ttg.descendants import ending_of
from ttg.worker.failures import OURS, is_library
from ttg.worker.outcome import Death
from ttg.worker.process import ChildHandle, Exit

# The first frame that Python's faulthandler prints is the innermost.
_FAULT_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)', re.MULTILINE)

_HINTS = {
    "SIGKILL": "perhaps by the kernel for want of memory: see --memory",
    "SIGSEGV": "a crash in compiled code",
    "SIGABRT": "a crash in compiled code",
    "SIGBUS": "a crash in compiled code",
}


class Watchdog:
    """Watches one child, from its start to its end. The first reason to end it is the one that counts."""

    def __init__(self, child: ChildHandle) -> None:
        self._child = child
        self._cause: Death | None = None
        self._peak_memory_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.blameless = False

    def kill(self, cause: Death | None) -> None:
        """End the child. Without a ``cause`` nobody is to blame for it."""
        if self._cause is None and not self.blameless:
            self._cause, self.blameless = cause, cause is None
            self._child.kill()

    def arm(self, seconds: float, cause: Death) -> None:
        """End the child in ``seconds``, unless armed anew or disarmed."""
        self.disarm()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.kill, cause)

    def disarm(self) -> None:
        """No limit of time any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def check_memory(self, limit: int) -> None:
        """End the child if it uses more than ``limit`` bytes. Call it often."""
        used = self._child.memory_bytes(limit)
        self._peak_memory_bytes = max(self._peak_memory_bytes, used)
        if used > limit:
            text = f"used {used >> 20} MiB of memory, more than the limit of {limit >> 20} MiB"
            self.kill(Death("memory", text, peak_memory_bytes=used))

    def death(self, exit: Exit) -> Death:
        """How the child died: by a limit if there was one, else as its exit code says."""
        return replace(self._cause or self._by_code(exit), output=exit.output, traceback=_of_user(exit.traceback))

    def _by_code(self, exit: Exit) -> Death:
        ending = ending_of(exit.code)
        kind, text = "exit", f"the process ended itself with {ending}"
        if exit.code < 0:
            hint = f" ({_HINTS[ending]})" if ending in _HINTS else ""
            kind, text = "signal", f"the process was ended by {ending}{hint}"
        peak, place = self._peak_memory_bytes or None, _place(exit.traceback) or ending
        return Death(kind, text, place=place, exit_code=exit.code, peak_memory_bytes=peak)


def place_of_import(printed: str) -> str:
    """Where an import hangs, by what :func:`faulthandler.dump_traceback_later` wrote; the main thread comes last."""
    return _place(printed.rpartition("Thread 0x")[2])


def _of_user(traceback: str) -> str:
    """Without our own frames, which called the user's code, and what follows them; all of it if they are innermost."""
    before, ours, _ = traceback.partition(f'  File "{OURS}')
    return before.rstrip() if ours and _FAULT_FRAME.search(before) else traceback


def _place(traceback: str) -> str:
    """Where a crash happened, if faulthandler could say it: the innermost frame that is in no library, if there is."""
    frames = list(_FAULT_FRAME.finditer(_of_user(traceback)))
    own = (frame for frame in frames if not is_library(frame["file"]))
    found = next(own, frames[0] if frames else None)
    return f"{found['file']}:{found['line']} ({found['function']})" if found else ""
