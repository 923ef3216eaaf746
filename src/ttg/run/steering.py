"""Changing how a run goes on, from anywhere: its record says so, and whoever reads that does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ttg.brokers.base import Broker
from ttg.clock import unix_time
from ttg.errors import InputError
from ttg.messages import RunRecord, RunStatus, records
from ttg.run.fleet import Fleet

READ_LIMIT = 1_000
NAMED = 8


async def pause(broker: Broker, run: str, *, paused: bool) -> None:
    """Begin nothing more of the run, or go on with it. ``InputError`` unless somebody leads it."""
    await _change(broker, run, partial(records.paused, wanted=paused))


async def drain(broker: Broker, run: str, worker: str) -> None:
    """Tell one worker to leave. ``InputError`` unless somebody leads the run and the worker was heard of lately."""
    await broker.open()
    known = await _workers(broker)
    if worker not in known:
        some = ", ".join(sorted(known)[:NAMED]) or "nobody"
        raise InputError(f"expected the name of a worker that is alive, got {worker!r}: there are {some}")
    await _change(broker, run, partial(records.drained, worker=worker))


async def _workers(broker: Broker) -> set[str]:
    """Who was heard of and has not said goodbye."""
    fleet, after = Fleet(), None
    while entries := await broker.read_events(after, READ_LIMIT, 0.0):
        for after, event in entries:  # noqa: B007 - the cursor to go on from
            fleet.saw(event, event.at)
    fleet.forget_silent(unix_time())
    return set(fleet.beats)


async def _change(broker: Broker, run: str, change: Callable[[RunRecord | None], RunRecord | None]) -> None:
    await broker.open()
    record = await broker.find_run(run, fresh=True)
    if record is None:
        raise InputError(f"expected a run that {broker.config.masked_url} knows, got {run!r}: see `ttg doctor`")
    if record.status_at(unix_time()) is not RunStatus.ACTIVE:
        raise InputError(f"expected a run that goes on, but {run} is {record.status_at(unix_time()).words}")
    await broker.change_run(run, change)
