"""Ends a child that exceeds a limit, and knows the story of each death: from the limit, or from the exit code."""

from __future__ import annotations

import asyncio
import re
import signal
from dataclasses import replace

from ttg.worker.failures import readable, shorten
from ttg.worker.outcome import Death
from ttg.worker.process import ChildHandle, Exit

# The first frame that Python's faulthandler prints is the innermost.
_FAULT_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)', re.MULTILINE)

_SIGNALS = {number.value: number.name for number in signal.Signals}
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
        used = self._child.memory_bytes()
        self._peak_memory_bytes = max(self._peak_memory_bytes, used)
        if used > limit:
            text = f"used {used >> 20} MiB of memory, more than the limit of {limit >> 20} MiB"
            self.kill(Death("memory", text, peak_memory_bytes=used))

    def death(self, exit: Exit) -> Death:
        """How the child died: by a limit if there was one, else as its exit code says."""
        output = readable(shorten(exit.output))
        if self._cause is not None:
            return replace(self._cause, output=output)
        peak = self._peak_memory_bytes or None
        if exit.code < 0:
            name = _SIGNALS.get(-exit.code, f"signal {-exit.code}")
            hint = f" ({_HINTS[name]})" if name in _HINTS else ""
            return Death(
                "signal", f"the process was ended by {name}{hint}", output, _place(output), 0.0, exit.code, peak
            )
        return Death("exit", f"the process ended itself with exit code {exit.code}", output, "", 0.0, exit.code, peak)


def _place(output: str) -> str:
    """Where a crash happened, if faulthandler could say it."""
    found = _FAULT_FRAME.search(output)
    return f"{found['file']}:{found['line']} ({found['function']})" if found else ""
