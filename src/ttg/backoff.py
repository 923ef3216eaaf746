"""Calls that wait until broker (or disk) are well again. One log line per change of state, none per try."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ttg.clock import loop_time
from ttg.errors import BrokerFull, BrokerUnavailable, StorageError, TTGError

log = logging.getLogger("ttg.backoff")

FIRST_SECONDS, LAST_SECONDS = 0.05, 5.0

T = TypeVar("T")


class Backoff:
    """Retries with exponential backoff and full jitter (so that a fleet does not return in step).

    ``on_trouble(text, recovered)`` is told when the trouble starts and when it is over. After ``give_up_seconds`` of
    it, or once ``exhausted`` is set, the error itself is raised. ``recover`` is tried before each further attempt.
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
        self._troubles: dict[type[TTGError], float] = {}
        self.exhausted = False
        self.last_contact = loop_time()

    @property
    def in_trouble(self) -> bool:
        """Whether some call waits for things to be well again."""
        return bool(self._troubles)

    async def call(self, verb: Callable[[], Awaitable[T]]) -> T:
        """The result of ``verb``, however long it takes. Other errors pass: waiting does not help them."""
        wait_seconds = FIRST_SECONDS
        # Any answer shows that the broker is there; that it takes data again only the refused call itself can see.
        cured: set[type[TTGError]] = {BrokerUnavailable}
        while True:
            try:
                result = await verb()
            except (BrokerUnavailable, BrokerFull, StorageError) as error:
                cured.add(type(error))
                self._note(error)
                if self._recover_first is not None:
                    await self._recover_first()
                await asyncio.sleep(wait_seconds * (0.5 + self._random.random() / 2))
                wait_seconds = min(2 * wait_seconds, LAST_SECONDS)
            else:
                self._recover(cured)
                return result

    def _note(self, error: TTGError) -> None:
        now, kind = loop_time(), type(error)
        if self.exhausted:
            raise error
        if kind not in self._troubles:
            self._troubles[kind] = now
            log.warning("waiting: %s", error)
            self._on_trouble(str(error), False)
        elif self._give_up_seconds is not None and now - self._troubles[kind] > self._give_up_seconds:
            raise error

    def _recover(self, cured: set[type[TTGError]]) -> None:
        self.last_contact = loop_time()
        for kind in cured & self._troubles.keys():
            text = f"well again after {self.last_contact - self._troubles.pop(kind):.1f} s"
            log.info(text)
            self._on_trouble(text, True)
