"""Which entries of the results log a reader may drop: what it has read itself, beyond the newest so many bytes.

The reader remembers ids and sizes, so nobody has to look at the entries again: a script that did would copy every
payload into the server's interpreter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from ttg.brokers.base import ResultMessage

ENTRY_BYTES = 512
"""What an entry takes in the server beside its payload, roughly; also bounds how many are remembered."""


class Retention:
    """The entries of one run that were read, oldest first, each with the bytes up to its end."""

    def __init__(self) -> None:
        self._entries: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._newest = (0, 0)

    def saw(self, messages: Iterable[ResultMessage]) -> None:
        """These were read, in this order."""
        for message in messages:
            place = _place(message.cursor)
            if place > self._newest:
                self._newest = place
                self._bytes += ENTRY_BYTES + len(message.payload)
                self._entries.append((message.cursor, self._bytes))

    def take(self, up_to: str, keep_bytes: int) -> Iterator[str]:
        """The ids of the oldest entries up to ``up_to``, except for the newest ``keep_bytes`` of those; they are
        forgotten here."""
        last = _place(up_to)
        collected = next((end for cursor, end in reversed(self._entries) if _place(cursor) <= last), 0)
        while self._entries and self._entries[0][1] <= collected - keep_bytes:
            yield self._entries.popleft()[0]


def _place(cursor: str) -> tuple[int, int]:
    """An id as something that can be compared."""
    milliseconds, _, number = cursor.partition("-")
    return int(milliseconds), int(number)
