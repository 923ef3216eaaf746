"""A dashboard on a stage: a snapshot of a synthetic fleet, results made up, served on a free port in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import uvicorn

from synthetic import Fleet
from ttg.clock import unix_time
from ttg.errors import InputError
from ttg.messages import RunEnded, RunStatus
from ttg.monitor.history import RunHistory
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.web.access import Access
from ttg.monitor.web.app import make_app
from ttg.monitor.web.sections import Farewell
from ttg.monitor.web.source import Column, FailedParameter, FailureView, LogTail, Page, Retrial, RunOnDisk

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
    Column("index", "about", "number"),
    Column("length", "parameter", "number"),
    Column("damping", "parameter", "number"),
    Column("period", "result", "number"),
    Column("seconds", "about", "number"),
    Column("worker", "about", "text"),
]


TOKEN = "shown-to-tests"  # noqa: S105 - made up
ACCESS = Access.by(TOKEN)


class MadeUpResults:
    """A :class:`~ttg.monitor.web.source.RunsSource` of 1,000 pendulums that remembers what was retried."""

    def __init__(self) -> None:
        self.retried: list[tuple[str, Retrial]] = []
        self.controlled: list[tuple[str, str, str]] = []
        self.on_disk: list[RunOnDisk] = []
        self.kept: dict[str, RunHistory] = {}
        self.failed: list[FailureView] = []
        self.axis_to = 0.0
        self.given_up: dict[str, list[float]] = {}

    def runs(self) -> list[RunOnDisk]:
        return self.on_disk

    def run(self, run: str) -> RunOnDisk | None:
        return next((known for known in self.on_disk if known.view.run == run), None)

    def history(self, run: str) -> RunHistory | None:
        return self.kept.get(run)

    def failures(self, run: str) -> list[FailureView]:
        return self.failed

    def space(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        found = self.sample(run, names, limit)
        if self.axis_to:
            found["length"] = [*found["length"], self.axis_to]
            found["damping"] = [*found["damping"], 0.0]
        return found

    def dead(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        return {name: self.given_up[name] for name in names} if self.given_up else {}

    def columns(self, run: str) -> list[Column]:
        return COLUMNS

    def page(self, run: str, *, offset: int, limit: int, sort: str, descending: bool) -> Page:
        if sort not in ROWS[0]:
            raise InputError(f"expected a column of {sorted(ROWS[0])}, got {sort!r}")
        rows = sorted(ROWS, key=lambda row: row[sort], reverse=descending)[offset : offset + limit]
        return Page(COLUMNS, [list(row.values()) for row in rows], len(ROWS))

    def sample(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        return {name: [row[name] for row in ROWS] for name in names}

    def export(self, run: str, format: str, file: BinaryIO) -> None:
        file.write(f"{format} of {run}".encode())

    def logs(self, run: str) -> list[LogTail]:
        return [LogTail("worker-1", "slot 0 pendulum[17]: swinging \x1b[1mwildly")]

    def control(self, verb: str, run: str, worker: str = "") -> str:
        self.controlled.append((verb, run, worker))
        return f"{verb} {run}: done"

    def retry(self, run: str, which: Retrial) -> int:
        self.retried.append((run, which))
        return 1 if which.index is not None else 5


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

    def lie_on_disk(self, status: RunStatus = RunStatus.FINISHED_WITH_DEAD_LETTERS) -> None:
        """The run is over and has a folder; what happened was kept, and some of what failed was mended since."""
        snapshot, run = self.snapshot, self.fleet.run
        ended = {"done": self.fleet.done, "dead": self.fleet.dead, "seconds": 12.3}
        snapshot.fold(RunEnded(at=self.fleet.now, source="coordinator", run=run, status=status, **ended))
        view = snapshot.at(self.fleet.now).runs[0]
        self.results.on_disk = [RunOnDisk(view, "", "/data/runs/pendulum", [("folder", "/data/runs/pendulum")])]
        self.results.kept[run] = RunHistory.decoded(snapshot.histories[run].encoded())
        self.results.failed = [
            FailureView(
                **{name: getattr(cause, name) for name in SAME},
                dead=5,
                mended=2,
                attempts=28,
                rows=[FailedParameter(17, '{"length": 0.1}', 4, "w1", "length is \x1b[31mred\u202e")],
            )
            for cause in snapshot.causes.at()
        ]
        self.results.given_up = {"length": [0.1, 0.2], "damping": [0.0, 0.05]}

    def step(self) -> None:
        """The next event, and the queues after it."""
        self.snapshot.fold(next(self.log))
        self.snapshot.fold_stats(self.fleet.stats(), self.fleet.now)

    def go_on(self) -> None:
        """Whatever happened by now."""
        while self.fleet.now < unix_time() and self.fleet.settled_chunks < self.fleet.chunks:
            self.step()
        self.snapshot.fold_stats(self.fleet.stats(), unix_time())


SAME = ("kind", "error", "place", "first", "last", "index", "message", "traceback", "output")
SETTINGS = ("size", "chunk", "call_seconds", "workers", "slots", "kill_at", "failing", "run", "began")


@contextlib.contextmanager
def playing(stage: Stage, live: bool = False, suddenly: bool = False) -> Iterator[str]:
    """Serve ``stage``; yields its address, to open with :data:`TOKEN`. ``live``: the fleet goes on working.
    ``suddenly``: it ends without a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    farewell = Farewell("The show is over.")
    app = make_app(stage.snapshot, ACCESS, stage.results, farewell)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=3))
    farewell.ending = lambda: server.should_exit and not suddenly
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
