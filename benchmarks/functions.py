"""What the user writes: plain functions of one index. Every contender runs exactly these, on the same interpreter."""

from __future__ import annotations

import os
import time
from array import array

BURN_LOOPS = 70_000
"""About one millisecond of pure Python; the figure that counts is relative to plain processes in the same run."""

PROGRESS_VARIABLE = "BENCH_PROGRESS"
PROGRESS_RECORD_BYTES = 24


def f(i: int) -> float:
    """P1: so cheap that everything around it is what gets measured."""
    return (i * 7 + 13) % 1000 + (i % 100) / 100


def burn(i: int) -> float:
    """P2: a fixed amount of computing."""
    for _ in range(BURN_LOOPS):
        pass
    return f(i)


def small(i: int) -> float:
    """P3: 100 ms of waiting."""
    time.sleep(0.1)
    return f(i)


def medium(i: int) -> float:
    """P4: 10 ms of waiting."""
    time.sleep(0.01)
    return f(i)


def counted(i: int) -> float:
    """P5: like :func:`small`, and leaves a record of each execution, so that the run can be broken at 36 %."""
    time.sleep(0.1)
    record_execution(i)
    return f(i)


def who(i: int) -> float:
    """The process that executes, whatever ``i`` is; when every worker has answered, the workers are up."""
    time.sleep(0.02)
    return float(os.getpid())


def record_execution(i: int) -> None:
    """Append one record of fixed size; appends this small are atomic, so the file's size is the progress."""
    record = f"{i:11d} {os.getpid():11d}\n".encode()
    descriptor = os.open(os.environ[PROGRESS_VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, record)
    finally:
        os.close(descriptor)


FUNCTIONS = {function.__name__: function for function in (f, burn, small, medium, counted, who)}


def block(name: str, start: int, stop: int) -> tuple[int, array[float]]:
    """The hand-written range: what a user of a peer writes to be fast. C-level loop, results as packed floats."""
    return start, array("d", map(FUNCTIONS[name], range(start, stop)))
