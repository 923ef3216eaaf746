"""Functions that fail until they are mended: while the file that ``MENDED`` names does not exist."""

from __future__ import annotations

import os
import time
from pathlib import Path


def _mended() -> bool:
    return Path(os.environ["MENDED"]).exists()


def fragile(i: int) -> int:
    print(f"looking at {i}")
    if i % 50 == 7 and not _mended():
        raise ValueError(f"odd one: {i}")
    if i % 100 == 3 and not _mended():
        raise KeyError(i)
    return i * 2


def hopeless(i: int) -> int:
    raise RuntimeError("nothing works")


def slow(i: int) -> int:
    time.sleep(0.02)
    return i * 2
