"""Ways for user code to end badly, as functions over ``i``; all are harmless unless ``i`` is :data:`CULPRIT`."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CULPRIT = 13


def fine(i: int) -> int:
    return i * i


def slow(i: int) -> int:
    time.sleep(0.05)
    return i * i


def endless_after_first(i: int) -> int:
    while i:
        time.sleep(0.05)
    return 0


def raises(i: int) -> int:
    if i == CULPRIT:
        raise ZeroDivisionError("by hand")
    return i * i


def raises_stop_iteration(i: int) -> int:
    if i == CULPRIT:
        next(iter(()))
    return i * i


def exits(i: int) -> int:
    if i == CULPRIT:
        sys.exit("enough")
    return i * i


def interrupts(i: int) -> int:
    if i == CULPRIT:
        raise KeyboardInterrupt
    return i * i


def exits_at_once(i: int) -> int:
    if i == CULPRIT:
        sys.stderr.write("last words\n")
        os._exit(3)
    return i * i


def segfaults(i: int) -> int:
    if i == CULPRIT:
        ctypes.string_at(0)
    return i * i


def kills_itself(i: int) -> int:
    if i == CULPRIT:
        os.kill(os.getpid(), signal.SIGKILL)
    return i * i


def loops_for_ever(i: int) -> int:
    while i == CULPRIT:
        pass
    return i * i


def eats_memory(i: int) -> int:
    eaten = []
    while i == CULPRIT:
        eaten.append(bytearray(1 << 20))
        time.sleep(0.001)
    return i * i


def wants_too_much(i: int) -> int:
    if i == CULPRIT:
        bytearray(1 << 50)
    return i * i


def returns_a_lock(i: int) -> object:
    import threading

    return threading.Lock() if i == CULPRIT else i * i


def closes_every_descriptor(i: int) -> int:
    if i == CULPRIT:
        os.closerange(3, 256)
    return i * i


def forks_and_lingers_then_dies(i: int) -> int:
    if i == CULPRIT:
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(4)
    return i * i


def notes_each_call(i: int) -> int:
    """Leaves a line per call in the file that ``CALLS`` names."""
    with Path(os.environ["CALLS"]).open("a", encoding="ascii") as calls:
        calls.write(f"{i}\n")
    if i == CULPRIT:
        os._exit(5)
    return i * i


def prints_and_raises(i: int) -> int:
    print("print", i)
    print("stderr", i, file=sys.stderr)
    sys.stdout.buffer.write(b"buffer %d\n" % i)
    sys.stdout.flush()
    os.write(1, b"descriptor %d\n" % i)
    subprocess.run(["echo", f"program {i}"], check=True)
    ctypes.CDLL(None).printf(b"C %d\n", i)
    print(f"no end {i}", end="")
    return raises(i)


def closes_its_output(i: int) -> int:
    if i == 3:
        sys.stdout.close()
    os.write(2, b"raw %d\n" % i)
    return raises(i)


def prints_and_segfaults(i: int) -> int:
    print("before the crash", i)
    if i == CULPRIT:
        ctypes.string_at(0)
    return i * i
