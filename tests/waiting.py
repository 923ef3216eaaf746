"""Waiting for a condition instead of a time: polls, and shows the last state when it never comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02


async def eventually(
    look: Callable[[], Awaitable[T]], wanted: Callable[[T], object] = bool, within_seconds: float = 15.0
) -> T:
    """What ``look()`` gives as soon as ``wanted`` holds for it; an ``AssertionError`` with the last state otherwise."""
    deadline = time.monotonic() + within_seconds
    while True:
        state = await look()
        if wanted(state):
            return state
        assert time.monotonic() < deadline, f"not within {within_seconds} s; last state: {state!r}"
        await asyncio.sleep(POLL_SECONDS)


def until(look: Callable[[], T], wanted: Callable[[T], object] = bool, within_seconds: float = 15.0) -> T:
    """The same for code without an event loop."""
    deadline = time.monotonic() + within_seconds
    while not wanted(state := look()):
        assert time.monotonic() < deadline, f"not within {within_seconds} s; last state: {state!r}"
        time.sleep(POLL_SECONDS)
    return state
