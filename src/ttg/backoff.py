"""Calls that wait until broker (or disk) are well again. One log line per change of state, none per try."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ttg.clock import loop_time
from ttg.errors import AccessRefused, BrokerError, BrokerRefused, StorageError, TTGError

log = logging.getLogger("ttg.backoff")

FIRST_SECONDS, LAST_SECONDS = 0.05, 5.0

T = TypeVar("T")


class Backoff:
    """Retries with exponential backoff and full jitter (so that a fleet does not return in step).

    Trouble is passing until proven final: an unreachable or full broker, a full disk; and what the broker refuses too,
    once it was well, but for a login or a permission. ``on_trouble(text, recovered)`` is told when the first call
    fails, and when none is failing any more. After ``give_up_seconds`` of it, or once ``exhausted`` is set, the error
    itself is raised. ``recover`` is tried before each further attempt.
    """

    def __init__(
        self,
        name: str,
        on_trouble: Callable[[str, bool], None],
        give_up_seconds: float | None = None,
        recover: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._random = random.Random(name)
        self._on_trouble = on_trouble
        self._give_up_seconds = give_up_seconds
        self._recover_first = recover
        self._failing: dict[object, type[TTGError]] = {}
        self._since: dict[type[TTGError], float] = {}
        self.was_well = False
        self.exhausted = False
        self.last_contact = loop_time()

    @property
    def in_trouble(self) -> bool:
        """Whether some call waits for things to be well again."""
        return bool(self._failing)

    async def call(self, verb: Callable[[], Awaitable[T]]) -> T:
        """The result of ``verb``, however long it takes. Other errors pass: waiting does not help them."""
        wait_seconds, call = FIRST_SECONDS, object()
        try:
            while True:
                try:
                    result = await verb()
                    break
                except (BrokerError, StorageError) as error:
                    self._note(call, error)
                if self._recover_first is not None:
                    await self._recover_first()
                await asyncio.sleep(wait_seconds * (0.5 + self._random.random() / 2))
                wait_seconds = min(2 * wait_seconds, LAST_SECONDS)
        finally:
            self._failing.pop(call, None)
        self._note_well()
        return result

    def _note(self, call: object, error: TTGError) -> None:
        now, kind = loop_time(), type(error)
        if self.exhausted or self.is_final(error):
            raise error
        self._failing[call] = kind
        if kind not in self._since:
            self._since[kind] = now
            log.warning("waiting: %s", error)
            self._on_trouble(str(error), False)
        elif self._give_up_seconds is not None and now - self._since[kind] > self._give_up_seconds:
            raise error

    def is_final(self, error: TTGError) -> bool:
        """Whether waiting is no use: a login or permission, and before the first success whatever is refused."""
        return isinstance(error, BrokerRefused) and (isinstance(error, AccessRefused) or not self.was_well)

    def _note_well(self) -> None:
        """A call succeeded. A kind of trouble is over when no call has it any more: that one verb works says nothing
        of others, which may be refused, or need another connection."""
        self.was_well = True
        self.last_contact = loop_time()
        for kind in self._since.keys() - set(self._failing.values()):
            text = f"well again after {self.last_contact - self._since.pop(kind):.1f} s"
            log.info(text)
            self._on_trouble(text, True)
