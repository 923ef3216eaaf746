"""Functions whose values tell them apart."""

from __future__ import annotations

import time


def plus(i: int) -> int:
    return i + 1


def minus(i: int) -> int:
    return -i


def slow_plus(i: int) -> int:
    time.sleep(0.02)
    return i + 1
