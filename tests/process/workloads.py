"""Functions that the tests' runs execute."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def value(i: int) -> float:
    """Cheap and checkable."""
    return (i * 7 + 13) % 1000 + (i % 100) / 100


def other_value(i: int) -> float:
    """Another function of the same file."""
    return -value(i)


def slow(i: int) -> float:
    """As ``value``, but it takes two milliseconds, and each call leaves a byte in a file."""
    time.sleep(0.002)
    with open(os.environ["CALLS_FILE"], "ab") as file:
        file.write(b".")
    return value(i)


def gated(i: int) -> float:
    """As ``slow``, until a file lets calls be fast."""
    return value(i) if os.path.exists(f"{os.environ['CALLS_FILE']}.go") else slow(i)


def picky(i: int) -> float:
    """Every hundredth parameter fails, always, and leaves a trace of each attempt."""
    if i % 100 == 7:
        with open(os.environ["ATTEMPTS_FILE"], "a") as file:
            file.write(f"{i} {time.time()}\n")
        raise ValueError(f"no value for {i % 1000}")
    return value(i)


def mixed(i: int, rng: np.random.Generator) -> dict[str, object]:
    """A number that depends on the seed, a text, a truth value; every fortieth parameter fails, always."""
    if i % 40 == 7:
        raise ValueError(f"no value for {i}")
    return {"number": rng.normal(), "text": f"{i:04x}", "even": i % 2 == 0}


def awaited(i: int) -> float:
    """As ``value``. The first parameter leaves a line with its worker's process, and ends when a file lets it."""
    calls = os.environ["CALLS_FILE"]
    if i == 0:
        with open(calls, "a") as file:
            file.write(f"{os.getppid()}\n")
        while not os.path.exists(f"{calls}.go"):
            time.sleep(0.05)
    return value(i)


def large(i: int, kilobytes: int) -> bytes:
    """Checkable, and of that size; it takes ten milliseconds."""
    time.sleep(0.01)
    return f"{i:04x}".encode() * (kilobytes << 8)


def stuck(i: int) -> float:
    """Leaves a byte in a file, and takes a minute."""
    with open(os.environ["CALLS_FILE"], "ab") as file:
        file.write(b".")
    time.sleep(60)
    return value(i)
