"""The story of a child's death, from its exit code, its last words, and what the supervisor had against it. Pure."""

from __future__ import annotations

import re
import signal
from dataclasses import replace

from ttg.worker.failures import readable, shorten
from ttg.worker.outcome import Death
from ttg.worker.process import Exit

# The first frame that Python's faulthandler prints is the innermost.
_FAULT_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)', re.MULTILINE)

_HINTS = {
    "SIGKILL": "perhaps by the kernel for want of memory: see --memory",
    "SIGSEGV": "a crash in compiled code",
    "SIGABRT": "a crash in compiled code",
    "SIGBUS": "a crash in compiled code",
}


def death_of(exit: Exit, verdict: Death | None, peak_memory_bytes: int = 0) -> Death:
    """How the child died: by the supervisor's ``verdict`` if there is one, else as its exit code says."""
    output = readable(shorten(exit.output))
    if verdict is not None:
        return replace(verdict, output=output)
    peak = peak_memory_bytes or None
    if exit.code < 0:
        name = signal_name(-exit.code)
        hint = f" ({_HINTS[name]})" if name in _HINTS else ""
        return Death("signal", f"the process was ended by {name}{hint}", output, _place(output), 0.0, exit.code, peak)
    return Death("exit", f"the process ended itself with exit code {exit.code}", output, "", 0.0, exit.code, peak)


def signal_name(number: int) -> str:
    """``SIGSEGV`` for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _place(output: str) -> str:
    """Where a crash happened, if faulthandler could say it."""
    found = _FAULT_FRAME.search(output)
    return f"{found['file']}:{found['line']} ({found['function']})" if found else ""
