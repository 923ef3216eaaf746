"""Functions of the fault tests: each call leaves a line in the file that ``CALLS`` names."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

POISONS = {
    11: "exception",
    23: "exit",
    37: "os._exit",
    41: "segfault",
    53: "endless loop",
    67: "memory",
    71: "unencodable",
    83: "closed pipe",
    97: "fork and linger",
}

_calls = os.open(os.environ.get("CALLS", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def value(i: int) -> int:
    return 3 * i + 1


def noted(i: int) -> int:
    """Five milliseconds of work, and a line that says who did it and when."""
    time.sleep(0.005)
    os.write(_calls, b"%d %d %f\n" % (i, os.getpid(), time.time()))
    return value(i)


def poisoned(i: int) -> object:
    """Every way to end badly, each at one parameter."""
    poison = POISONS.get(i)
    if poison == "exception":
        raise ValueError("a bad parameter")
    if poison == "exit":
        sys.exit(3)
    if poison == "os._exit":
        os._exit(4)
    if poison == "segfault":
        ctypes.string_at(0)
    while poison == "endless loop":
        pass
    if poison == "memory":
        eaten = [b"x" * (16 << 20) for _ in range(1_000)]
        return len(eaten)
    if poison == "unencodable":
        return open(os.devnull)
    if poison == "closed pipe":
        os.closerange(3, 256)
    if poison == "fork and linger":
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(5)
    return value(i)


def leaving(i: int, kilobytes: int, attempt: int, workdir: Path) -> int:
    """Files, but for every fifth; of ten, one raises and one is killed at first, after it has left half of them."""
    assert not any(workdir.iterdir())
    time.sleep(0.05)
    if i % 5 == 0:
        return i
    (workdir / "sub").mkdir()
    (workdir / "sub" / "data").write_bytes(b"%04d" % i * 256 * kilobytes)
    if attempt == 1 and i % 10 == 3:
        raise ValueError("once")
    if attempt == 1 and i % 10 == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    (workdir / "attempt").write_text(str(attempt))
    return i
