"""Time, injected. Durations are measured on the running event loop's clock (``loop.time()``), which a simulation may
make virtual; :func:`unix_time` gives the wall clock for messages people read, and is replaced in simulations too.

No promise of TTG depends on the wall clock: it may jump by hours at any moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_unix_time: Callable[[], float] = time.time


def unix_time() -> float:
    """Wall clock, seconds since 1970. For display and ordering by people, never for deciding."""
    return _unix_time()


def use_unix_time(source: Callable[[], float] = time.time) -> None:
    """Replace the wall clock (simulation, clock-jump tests); without argument: the real one again."""
    global _unix_time
    _unix_time = source


def loop_time() -> float:
    """Monotonic seconds of the running event loop."""
    return asyncio.get_running_loop().time()
