"""A module whose import does not end."""

from __future__ import annotations

import time


def wait_for_a_licence() -> None:
    time.sleep(3600)


wait_for_a_licence()


def value(i: int) -> int:
    return i
