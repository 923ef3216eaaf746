"""Follows one run: reports its progress, injects the fault at the right moment, and keeps what was observed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ttg.brokers.base import BrokerStats
from ttg.brokers.embedded import EmbeddedServer
from ttg.demo.brokers import DemoBroker, Say
from ttg.demo.faults import Victims, inject
from ttg.demo.measure import TAKEOVERS, DemoObserver, Observation
from ttg.demo.network import Proxy
from ttg.run.fleet import Fleet
from ttg.run.launch import Running
from ttg.run.local_workers import LocalWorkers
from ttg.run.progress import Progress

POLL_SECONDS = 0.02
LATE_NEWS_SECONDS = 2.0


class Show:
    """A run's reporter and its two hooks, :meth:`begin` and :meth:`end`; :meth:`leave` whatever happened.

    For the fault ``network`` the last of ``workers`` workers is started here, behind a :class:`Proxy`.
    """

    def __init__(
        self, fault: str | None, share: float, workers: int, broker: DemoBroker, say: Say, reporter: Any
    ) -> None:
        self.seen = Observation()
        self.queues = ""
        self.seconds = 0.0
        self.most_workers = 0
        self.chunks_settled = 0
        self._fault = fault
        self._share = share
        self._workers = workers
        self._broker = broker
        self._say = say
        self._reporter = reporter
        self._created = asyncio.get_running_loop().time()
        self._running: Running | None = None
        self._observer: DemoObserver | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._proxy: Proxy | None = None
        self._distant: LocalWorkers | None = None

    # -- the run's reporter

    def __call__(self, progress: Progress) -> None:
        self.most_workers = max(self.most_workers, progress.workers)
        self._reporter(progress)

    def close(self) -> None:
        """End of the progress bar."""
        self._reporter.close()

    # -- the run's hooks

    def begin(self, running: Running) -> None:
        """Everything is started: observe it, and break it when it is time."""
        self._running, coordinator = running, running.coordinator
        self._observer = DemoObserver(
            running.broker,
            coordinator.spec.run,
            lambda: (coordinator.settled, len(coordinator.fleet)),
            self._on_recovery,
        )
        self.seen = self._observer.seen
        self._tasks.append(asyncio.create_task(self._observer.watch()))
        if self._fault:
            self._tasks.append(asyncio.create_task(self._break(running, self._fault)))

    async def end(self) -> None:
        """The run is over, the broker still there: take the last look."""
        assert self._observer is not None
        assert self._running is not None
        self.seconds = asyncio.get_running_loop().time() - self._created
        self.chunks_settled = self._running.coordinator.kept.history.chunks
        await self._stop_watching()
        stats = await self._last_look(self._observer)
        self.queues = await self._broker.describe(stats)

    async def _last_look(self, observer: DemoObserver) -> BrokerStats | None:
        """Workers tell of what they settled a little later: wait until the timeline is complete."""
        deadline = asyncio.get_running_loop().time() + LATE_NEWS_SECONDS
        stats = await observer.look()
        while len(self.seen.bars) < self.chunks_settled and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            stats = await observer.look()
        return stats

    async def leave(self) -> None:
        """Let go of everything. Idempotent."""
        await self._stop_watching()
        if self._distant is not None:
            self._distant.kill()
        if self._proxy is not None:
            await self._proxy.close()

    async def _stop_watching(self) -> None:
        for task in self._tasks:
            task.cancel()
        failures = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for failure in failures:
            if isinstance(failure, Exception):
                raise failure

    # -- the fault

    async def _break(self, running: Running, fault: str) -> None:
        coordinator = running.coordinator
        if fault == "network":
            await self._start_distant_worker(running)
        wanted = self._share * coordinator.spec.size
        while coordinator.settled < wanted or not self._is_at_work(coordinator.fleet):  # noqa: ASYNC110 - as an onlooker
            await asyncio.sleep(POLL_SECONDS)
        assert self._observer is not None
        share = coordinator.settled / coordinator.spec.size
        harm = inject(fault, self._victims(running))
        self._observer.fault_injected(fault, harm.victim, share, harm.text)
        self._tell(f"⚡ {100 * share:.0f} %, after {self.seen.fault_at:.1f} s: {harm.text}")

    def _is_at_work(self, fleet: Fleet) -> bool:
        """Whether the distant worker, if there is one, has a task: it comes later than the others."""
        return not self._distant or any(
            fleet.beats[name][1].holding for name in self._distant.pids if name in fleet.beats
        )

    async def _start_distant_worker(self, running: Running) -> None:
        assert running.workers is not None
        self._proxy = Proxy(running.broker.config.url)
        await self._proxy.start()
        command = running.workers.command
        environment = {**command.environment, "TTG_BROKER": self._proxy.url}
        self._distant = LocalWorkers(replace(command, environment=environment), 1, replace=False, first=self._workers)
        self._distant.start()

    def _victims(self, running: Running) -> Victims:
        ours = running.workers.pids if running.workers else {}
        distant = list(self._distant.pids) if self._distant else []
        return Victims(
            workers={name: ours[name] for name in running.coordinator.fleet.beats if name in ours} or ours,
            kill_broker=self._broker.node.crash if self._broker.node else _killer(running.server),
            cut_network=self._proxy.cut if self._proxy else None,
            distant=distant[0] if distant else "",
        )

    def _on_recovery(self, seconds: float) -> None:
        what = "its work was taken over" if self._fault in TAKEOVERS else "work goes on"
        self._tell(f"✔ {what}, {seconds:.2f} s after the fault")

    def _tell(self, text: str) -> None:
        self._reporter.close()
        self._say(text)


def _killer(server: EmbeddedServer | None) -> Callable[[], None] | None:
    return (lambda: os.kill(server.pid, signal.SIGKILL)) if server else None
