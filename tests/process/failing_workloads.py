"""Functions that fail until they are mended: while the file that ``MENDED`` names does not exist."""

from __future__ import annotations

import json
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


def troubled(i: int) -> int:
    """Some raise, one ends its process; ``GATES`` is ``{index: file}``: from that index on they wait for the file."""
    time.sleep(0.1)
    if i % 40 == 7:
        raise ValueError("no")
    if i == 31:
        os._exit(3)
    for first, gate in json.loads(os.environ["GATES"]).items():
        while i >= int(first) and not Path(gate).exists():
            time.sleep(0.05)
    return i
