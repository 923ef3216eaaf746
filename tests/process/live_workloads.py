"""What the runs and calls of test_live.py and its neighbours execute."""

from __future__ import annotations

import time


def slow(x: int) -> float:
    """Fails at 5."""
    time.sleep(0.02)
    return 1 / (x - 5)
