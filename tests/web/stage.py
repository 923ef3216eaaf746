"""A dashboard on a stage: a snapshot of a synthetic fleet, results made up, served on a free port in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn

from synthetic import Fleet
from ttg.clock import unix_time
from ttg.errors import InputError
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.web.access import Access
from ttg.monitor.web.app import make_app
from ttg.monitor.web.results import Column, Page

ROWS: list[dict[str, Any]] = [
    {
        "index": index,
        "length": 0.1 + (index // 40) * 0.1,
        "damping": (index % 40) * 0.05,
        "period": 2 * math.pi * math.sqrt((0.1 + (index // 40) * 0.1) / 9.81) * (1 + 0.2 * ((index % 40) * 0.05) ** 2),
        "seconds": 0.1,
        "worker": f"w{1 + index % 3}",
    }
    for index in range(1_000)
]
COLUMNS = [
    Column("index", "about", True),
    Column("length", "parameter", True),
    Column("damping", "parameter", True),
    Column("period", "result", True),
    Column("seconds", "about", True),
    Column("worker", "about", False),
]


class MadeUpResults:
    """A :class:`~ttg.monitor.web.results.ResultsSource` of 1,000 pendulums that remembers what was retried."""

    def __init__(self) -> None:
        self.retried: list[tuple[str, str, str, str]] = []

    def columns(self, run: str) -> list[Column]:
        return COLUMNS

    def page(self, run: str, *, offset: int, limit: int, sort: str, descending: bool) -> Page:
        if sort not in ROWS[0]:
            raise InputError(f"expected a column of {sorted(ROWS[0])}, got {sort!r}")
        rows = sorted(ROWS, key=lambda row: row[sort], reverse=descending)[offset : offset + limit]
        return Page(COLUMNS, [list(row.values()) for row in rows], len(ROWS))

    def sample(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        return {name: [row[name] for row in ROWS] for name in names}

    def retry(self, run: str, kind: str, error: str, place: str) -> int:
        self.retried.append((run, kind, error, place))
        return 5


class Stage:
    """``fleet`` played up to ``fraction`` of its chunks, as if it had happened until now."""

    def __init__(self, fleet: Fleet, fraction: float = 0.6) -> None:
        self.fleet = fleet
        self.snapshot = Snapshot()
        self.results = MadeUpResults()
        self._rehearse(fraction)

    def _rehearse(self, fraction: float) -> None:
        """Fold the log up to ``fraction``; its times are those of a fleet that began just long enough ago."""
        rehearsal = Fleet(
            **{name: getattr(self.fleet, name) for name in Fleet.__dataclass_fields__ if name in SETTINGS}
        )
        for _ in rehearsal.events():
            if rehearsal.settled_chunks >= fraction * rehearsal.chunks:
                break
        shift = unix_time() - rehearsal.now
        self.fleet.began, self.fleet.now = self.fleet.began + shift, self.fleet.now + shift
        self.fleet.__post_init__()
        self.log = self.fleet.events()
        while self.fleet.settled_chunks < fraction * self.fleet.chunks:
            self.step()

    def step(self) -> None:
        """The next event, and the queues after it."""
        self.snapshot.fold(next(self.log))
        self.snapshot.fold_stats(self.fleet.stats(), self.fleet.now)

    def go_on(self) -> None:
        """Whatever happened by now."""
        while self.fleet.now < unix_time() and self.fleet.settled_chunks < self.fleet.chunks:
            self.step()
        self.snapshot.fold_stats(self.fleet.stats(), unix_time())


SETTINGS = ("size", "chunk", "call_seconds", "workers", "slots", "kill_at", "failing", "run", "began")


@contextlib.contextmanager
def playing(stage: Stage, access: Access | None = None, live: bool = False) -> Iterator[str]:
    """Serve ``stage``; yields its address. ``live``: the fleet goes on working."""
    listener = socket.create_server(("127.0.0.1", 0))
    access = access or Access.to("127.0.0.1", None)
    app = make_app(stage.snapshot, access, stage.results, stopping=lambda: server.should_exit)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=3))
    thread = threading.Thread(target=asyncio.run, args=(_serve(server, listener, stage, live),))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


async def _serve(server: uvicorn.Server, listener: socket.socket, stage: Stage, live: bool) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not serving.done():
        if live:
            stage.go_on()
        await asyncio.wait([serving], timeout=0.2)
