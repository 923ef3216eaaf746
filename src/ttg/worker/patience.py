"""Calls to the broker that wait until it is there again. One log line per change of state, none per try."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ttg.clock import loop_time
from ttg.errors import BrokerError, BrokerFull, BrokerUnavailable

log = logging.getLogger("ttg.worker")

FIRST_SECONDS, LAST_SECONDS = 0.05, 5.0

T = TypeVar("T")


class Patience:
    """Retries with exponential backoff and full jitter (so that a fleet does not return in step).

    ``on_trouble(text, recovered)`` is told when the trouble starts and when it is over. After ``give_up_seconds`` of it
    the broker's own error is raised.
    """

    def __init__(
        self, name: str, on_trouble: Callable[[str, bool], None], give_up_seconds: float | None = None
    ) -> None:
        self._random = random.Random(name)
        self._on_trouble = on_trouble
        self._give_up_seconds = give_up_seconds
        self._troubles: dict[type[BrokerError], float] = {}
        self.last_contact = loop_time()

    @property
    def in_trouble(self) -> bool:
        """Whether some call waits for the broker to be well again."""
        return bool(self._troubles)

    async def call(self, verb: Callable[[], Awaitable[T]]) -> T:
        """The result of ``verb``, however long it takes. ``BrokerRefused`` passes: waiting does not help."""
        wait_seconds = FIRST_SECONDS
        # Any answer shows that the broker is there; that it takes data again only the refused call itself can see.
        cured: set[type[BrokerError]] = {BrokerUnavailable}
        while True:
            try:
                result = await verb()
            except (BrokerUnavailable, BrokerFull) as error:
                cured.add(type(error))
                self._note(error)
                await asyncio.sleep(wait_seconds * (0.5 + self._random.random() / 2))
                wait_seconds = min(2 * wait_seconds, LAST_SECONDS)
            else:
                self._recover(cured)
                return result

    def _note(self, error: BrokerError) -> None:
        now, kind = loop_time(), type(error)
        if kind not in self._troubles:
            self._troubles[kind] = now
            log.warning("the broker is in trouble, waiting: %s", error)
            self._on_trouble(str(error), False)
        elif self._give_up_seconds is not None and now - self._troubles[kind] > self._give_up_seconds:
            raise error

    def _recover(self, cured: set[type[BrokerError]]) -> None:
        self.last_contact = loop_time()
        for kind in cured & self._troubles.keys():
            text = f"the broker is well again after {self.last_contact - self._troubles.pop(kind):.1f} s"
            log.info(text)
            self._on_trouble(text, True)
