"""Waiting for another thread where Ctrl-C must be heard."""

from __future__ import annotations

import threading
from time import monotonic

DEAF_SECONDS = 0.1
"""Longest time that a signal waits for its handler."""


class Event(threading.Event):
    """A ``threading.Event`` whose ``wait`` lets the handlers of signals run meanwhile, whatever thread got the signal.
    An ordinary one does only when the main thread itself is interrupted inside the system call: what came just before
    that, or to another thread, would be handled when the event is set."""

    def wait(self, timeout: float | None = None) -> bool:
        """As ``threading.Event.wait``."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            left = DEAF_SECONDS if deadline is None else min(DEAF_SECONDS, deadline - monotonic())
            if super().wait(max(0.0, left)):
                return True
            if deadline is not None and monotonic() >= deadline:
                return False
