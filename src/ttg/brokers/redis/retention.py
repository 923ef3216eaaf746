"""Which entries of the results log a reader may drop: what it has read itself, beyond the newest so many bytes.

The reader remembers ids and sizes, so nobody has to look at the entries again: a script that did would copy every
payload into the server's interpreter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice, takewhile

from ttg.brokers.base import ResultMessage
from ttg.brokers.redis.logs import place

ENTRY_BYTES = 512
"""What an entry takes in the server beside its payload, roughly; also bounds how many are remembered."""


class Retention:
    """The entries of one run that were read, oldest first, each with the bytes up to its end."""

    def __init__(self) -> None:
        self._entries: deque[tuple[str, int]] = deque()
        self._bytes = self._dropped_bytes = 0
        self._newest = (0, 0)

    def saw(self, messages: Iterable[ResultMessage]) -> None:
        """These were read, in this order."""
        for message in messages:
            if place(message.cursor) > self._newest:
                self._newest = place(message.cursor)
                self._bytes += ENTRY_BYTES + len(message.payload)
                self._entries.append((message.cursor, self._bytes))

    def droppable(self, up_to: str, keep_bytes: int, limit: int) -> list[str]:
        """The ids of the ``limit`` oldest entries up to ``up_to``, except for the newest ``keep_bytes`` of those."""
        last = place(up_to)
        collected = next((end for cursor, end in reversed(self._entries) if place(cursor) <= last), 0)
        old = takewhile(lambda entry: entry[1] <= collected - keep_bytes, self._entries)
        return [cursor for cursor, _ in islice(old, limit)]

    def dropped(self, count: int) -> None:
        """The server has dropped the ``count`` oldest."""
        for _ in range(count):
            self._dropped_bytes = self._entries.popleft()[1]

    @property
    def kept_bytes(self) -> int:
        """What those that were read and not dropped take."""
        return self._bytes - self._dropped_bytes
