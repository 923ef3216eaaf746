"""``python coordinator_stage.py MOMENT COUNT ttg-arguments…``: a ``ttg`` that kills itself when it lives through
``MOMENT`` (see :data:`MOMENTS`) for the ``COUNT``-th time, as SIGKILL at that very line would."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from ttg.brokers.redis import broker as redis_broker
from ttg.cli import main
from ttg.results import collector, dataset

MOMENTS: dict[str, tuple[Any, str, bool]] = {
    "before submit": (redis_broker.RedisBroker, "submit", True),
    "after submit": (redis_broker.RedisBroker, "submit", False),
    "before collect": (collector.Collector, "add", True),
    "after collect": (collector.Collector, "add", False),
    "before part": (collector, "write_what_can_be", True),
    "in part": (dataset, "publish_file", True),
    "after part": (collector, "write_what_can_be", False),
    "after commit": (collector.Collector, "commit", False),
    "in finalise": (collector, "unify_parts", False),
    "after finalise": (collector.Collector, "finalise", False),
}


def die_at(owner: Any, name: str, before: bool, count: int) -> None:
    """Replace a function by one that ends the process at its ``count``-th call."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def is_time() -> bool:
        nonlocal calls
        calls += 1
        return calls == count

    if name == "submit":

        async def deadly_coroutine(*arguments: Any) -> Any:
            fatal = is_time()
            if fatal and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = await original(*arguments)
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, deadly_coroutine)
        return

    @functools.wraps(original)
    def deadly(*arguments: Any, **options: Any) -> Any:
        fatal = is_time()
        if fatal and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


if __name__ == "__main__":
    owner, name, before = MOMENTS[sys.argv[1]]
    die_at(owner, name, before, int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
