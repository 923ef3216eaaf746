"""Cancelling a run from anywhere: its record says so, everybody who works on it leaves, and its messages go.

The order matters. The coordinator must have left before the run's record is removed: to a coordinator that still works,
a record that is gone means that the broker has lost the run, and it would publish it again.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from ttg.brokers.base import Broker
from ttg.clock import loop_time, unix_time
from ttg.errors import InputError, RunConflictError
from ttg.messages import AnyEvent, RunEnded, RunRecord, RunStatus
from ttg.messages.records import cancelled
from ttg.results.folder import RunFolder
from ttg.run.fleet import Fleet

AT_MOST_SECONDS = 15.0


@dataclass
class Participants:
    """Who still works on a run, from the events log. ``coordinated``: somebody leads it."""

    run: RunRecord
    coordinated: bool
    fleet: Fleet = field(default_factory=Fleet)

    def saw(self, event: AnyEvent) -> None:
        """One event."""
        self.fleet.saw(event, event.at)
        if isinstance(event, RunEnded) and event.identity == self.run.identity:
            self.coordinated = False

    @property
    def are_gone(self) -> bool:
        """The coordinator has left or was not there, and no worker is known to hold a task."""
        return not self.coordinated and not self.fleet.holds(self.run.identity)


async def cancel(broker: Broker, run: str) -> Counter[str]:
    """Cancel ``run`` and remove its messages; returns how many, by queue. Results that a coordinator had collected are
    safe in its dataset; ``InputError`` when the broker does not know the run, or it is over."""
    before, record = await _mark(broker, run)
    led = before.status_at(unix_time()) is RunStatus.ACTIVE
    await _wait_for_everybody(broker, Participants(record or before, coordinated=led))
    counts = Counter(await broker.purge(record or before))
    await broker.change_run(run, partial(_remembered, record or before))
    return counts


async def cancel_embedded(broker: Broker, run: str) -> None:
    """Cancel a run whose private broker ends with it, so that nothing is to be removed: its coordinator leaves."""
    await _mark(broker, run)


async def _mark(broker: Broker, run: str) -> tuple[RunRecord, RunRecord | None]:
    """The run's record before, and as it says that the run is cancelled."""
    await broker.open()
    before = await broker.find_run(run, fresh=True)
    if before is None:
        raise InputError(f"expected a run that {broker.config.masked_url} knows, got {run!r}: see `ttg doctor`")
    if before.status.is_finished:
        raise InputError(f"run {run} is {before.status.words}: there is nothing to cancel")
    return before, await broker.change_run(run, partial(cancelled, now=unix_time()))


def _remembered(gone: RunRecord, current: RunRecord | None) -> RunRecord:
    """A cancelled run stays known as such: to a coordinator that was out of reach, and to those who watch."""
    return gone if current is None else current


async def _wait_for_everybody(broker: Broker, participants: Participants) -> None:
    after, deadline = "$", loop_time() + AT_MOST_SECONDS
    while loop_time() < deadline:
        entries = await broker.read_events(after, 256, 0.5)
        for cursor, event in entries:
            after = cursor
            participants.saw(event)
        if participants.are_gone and not entries:
            return
        await asyncio.sleep(0)


def interrupt(folder: RunFolder) -> None:
    """End a run of this machine that no broker knows (yet): its coordinator is told to stop."""
    try:
        folder.lock().close()
    except RunConflictError as error:
        holder = re.match(r"pid (\d+) on (.*)", (folder.path / "lock").read_text())
        if holder is None or holder[2] != socket.gethostname():
            raise RunConflictError(f"{folder.path} is in use on another machine: cancel the run there") from error
        os.kill(int(holder[1]), signal.SIGINT)
    else:
        raise InputError(f"run {folder.spec.run} is not going on: there is nothing to cancel")
