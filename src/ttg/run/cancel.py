"""Cancelling a run from anywhere: its record says so, everybody who works on it leaves, and its messages go.

The order matters. The coordinator must have left before the run's record is removed: to a coordinator that still works,
a record that is gone means that the broker has lost the run, and it would publish it again.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections import Counter
from dataclasses import dataclass, field

from ttg.brokers.base import Broker
from ttg.clock import loop_time
from ttg.errors import InputError, RunConflictError
from ttg.messages import AnyEvent, RunEnded, RunProgress, RunRecord, WorkerHeartbeat, WorkerStopped
from ttg.results.folder import RunFolder

SILENT_SECONDS = 3.0
AT_MOST_SECONDS = 15.0


@dataclass
class Departure:
    """Who still works on a run, from the events log."""

    run: str
    heard_at: float
    ended: bool = False
    busy: set[str] = field(default_factory=set)

    def saw(self, event: AnyEvent, now: float) -> None:
        """One event."""
        if isinstance(event, RunEnded) and event.run == self.run:
            self.ended = True
        elif isinstance(event, RunProgress) and event.run == self.run:
            self.heard_at = now
        elif isinstance(event, WorkerHeartbeat):
            holds = any(task.startswith(f"{self.run}/") for task in event.holding)
            (self.busy.add if holds else self.busy.discard)(event.worker)
        elif isinstance(event, WorkerStopped):
            self.busy.discard(event.worker)

    def is_over(self, now: float) -> bool:
        """The coordinator has left or was not there, and no worker is known to hold a task."""
        return (self.ended or now - self.heard_at > SILENT_SECONDS) and not self.busy


async def cancel(broker: Broker, run: str) -> Counter[str]:
    """Cancel ``run`` and remove its messages; returns how many, by queue. Results that a coordinator had collected are
    safe in its dataset; ``InputError`` when the broker does not know the run, or it is over."""
    await broker.open()
    record = await broker.find_run(run)
    if record is None:
        raise InputError(f"expected a run that {broker.config.masked_url} knows, got {run!r}: see `ttg doctor`")
    if record.state == "finished":
        raise InputError(f"run {run} is finished: there is nothing to cancel")
    await broker.publish_run(RunRecord(record.run, record.spec, "cancelled"))
    await _see_everybody_off(broker, run)
    return Counter(await broker.purge(run))


async def _see_everybody_off(broker: Broker, run: str) -> None:
    departure, after = Departure(run, loop_time()), "$"
    deadline = loop_time() + AT_MOST_SECONDS
    while not departure.is_over(loop_time()) and loop_time() < deadline:
        entries = await broker.read_events(after, 256, 0.5)
        for cursor, event in entries:
            after = cursor
            departure.saw(event, loop_time())


def interrupt(folder: RunFolder) -> None:
    """End a run with an embedded broker, which has no life outside its coordinator: that one is told to stop."""
    try:
        folder.lock().close()
    except RunConflictError as error:
        holder = re.match(r"pid (\d+) on (.*)", (folder.path / "lock").read_text())
        if holder is None or holder[2] != socket.gethostname():
            raise RunConflictError(f"{folder.path} is in use on another machine: cancel the run there") from error
        os.kill(int(holder[1]), signal.SIGINT)
    else:
        raise InputError(f"run {folder.spec.run} is not going on: there is nothing to cancel")
