"""What happened in a run, kept beside its table now and then and at its end: for those who look when it is over."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ttg.clock import loop_time, unix_time
from ttg.errors import MessageError
from ttg.messages import AnyEvent, ResultHeader
from ttg.monitor.history import RunHistory

log = logging.getLogger("ttg.run")

SAVED_EVERY_SECONDS = 10.0
SAVED_EVERY_SHARE = 0.05


def read_history(path: Path, run: str) -> RunHistory | None:
    """The history that lies at ``path``; ``None`` when there is none of this run that can be read."""
    with suppress(OSError, MessageError):
        history = RunHistory.decoded(path.read_bytes())
        return history if history.run == run else None
    return None


@dataclass
class KeptHistory:
    """The history of ``run`` as its coordinator sees it, kept in the file ``path``; without one only counted. It is for
    people: that it cannot be written is no reason for a run to stop, or to wait for the disk."""

    path: Path | None
    run: str
    clock: Callable[[], float] = loop_time
    history: RunHistory = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._due = self._began + SAVED_EVERY_SECONDS
        self.history = (read_history(self.path, self.run) if self.path else None) or RunHistory(self.run)
        self.history.go_on(unix_time())

    def saw(self, header: ResultHeader) -> None:
        """A task was settled."""
        if self.path is None:
            self.history.chunks += 1
        else:
            self.history.on_header(header)

    def on_event(self, event: AnyEvent) -> None:
        """Workers and brokers tell of faults."""
        self.history.on_event(event)

    async def save_when_due(self) -> None:
        """Now and then: less often, the longer the run takes."""
        now = self.clock()
        if now >= self._due:
            self._due = now + max(SAVED_EVERY_SECONDS, SAVED_EVERY_SHARE * (now - self._began))
            await self.save()

    async def save(self, *events: AnyEvent) -> None:
        """As it is after ``events``."""
        for event in events:
            self.on_event(event)
        if self.path is not None:
            await asyncio.to_thread(_write, self.path, self.history.encoded())


def _write(path: Path, data: bytes) -> None:
    """Not synced: what a power failure costs here is a picture."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        log.debug("what happened is not kept in %s: %s", path, error)
