"""The supervisor: leases tasks, hands them to slots, settles what became of them, keeps the leases alive.

Six loops share one event loop; each is a few lines and says what it waits for. ``running`` starts and ends them::

    settle     something completed             settle a batch, count it
    renew      a third of a lease passed       prolong what is held, drop what was lost
    publish    a quarter of a second passed *  events, heartbeat

    lease      there is room                   lease, decide, assign
    watch runs a beat, a second, passed        runs cancelled or finished? what is undecided?
    tick       a moment passed *               limits of children, tasks behind a slow one, idle?

    * or, in an idle worker, the same beat: it wakes up once for all of them

A stop is orderly: the second three end, so nothing is leased or started any more; what no child executes goes back,
children are asked for what they have; the first three go on until it is settled; then everything is closed. A second
request to stop skips the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from ttg import descendants
from ttg.backoff import Backoff
from ttg.brokers.base import Broker, Delivery
from ttg.clock import loop_time, unix_time
from ttg.errors import BrokerError
from ttg.messages import WorkerHeartbeat, WorkerStopped
from ttg.worker.config import Reason, Summary, WorkerConfig
from ttg.worker.dispatcher import Dispatcher
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.launching import Launched, launch
from ttg.worker.leases import HELD, Leases, State
from ttg.worker.limits import reap_orphans, resident_bytes
from ttg.worker.process import ChildOwner, ChildProcess, Spawn
from ttg.worker.run_cache import AwaitedRun, RunCache
from ttg.worker.settler import Observer, Settler
from ttg.worker.shares import Shares
from ttg.worker.slot import Slot

log = logging.getLogger("ttg.worker")

LEASE_WAIT_SECONDS = 5.0
TROUBLED_LEASE_WAIT_SECONDS = 1.0
"""After trouble a call that waits for tasks is what shows that the broker is well again."""

PUBLISH_SECONDS = 0.25
TICK_SECONDS = 0.05
BEAT_SECONDS = 1.0
"""An idle worker does its regular work on this beat, all at once: a hundred of them are a tenth of a core."""

IDLE_HEARTBEAT = 2
"""Who holds nothing, and so can lose nothing, says only every so many times that it is alive."""

LEAST_PAUSE_SECONDS = 0.002
WAITING_SECONDS = 2.0
CLOSE_SECONDS = 2.0


def _nobody(moment: str, **data: Any) -> None:
    """The observer outside tests."""


@contextlib.asynccontextmanager
async def running(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """The ``loops`` run as long as the body does. The first error of one ends all, and is raised here as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop) for loop in loops]
            yield
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Worker:
    """One worker; construct it inside the event loop that runs it, and run it once."""

    def __init__(
        self, broker: Broker, config: WorkerConfig, *, spawn: Spawn = ChildProcess, observer: Observer = _nobody
    ) -> None:
        self.broker, self.config = broker, config
        self.summary = Summary(config.name, config.host, broker.backend, slots=config.slots)
        self.runs = RunCache(broker, config.allow, config.labels, config.allow_programs)
        self.leases = Leases(config.slots)
        self._changed, self._stop, self._abort, self._opened, self._busy = (asyncio.Event() for _ in range(5))
        self._events = events = EventBuffer(config.name)
        self.backoff = Backoff(config.name, events.on_trouble, config.give_up_seconds)
        self._settler = Settler(
            broker, self.backoff, self.leases, self.summary, events, observer, on_change=self._changed.set
        )
        self._dispatcher = Dispatcher(self.runs, self.backoff, events, self.leases, self._settler)
        secret = config.secret.encode() if config.secret else None
        self.slots = self._dispatcher.slots
        for number in range(config.slots):
            self.slots.append(Slot(number, self._dispatcher, self.leases, spawn, secret))
        self._awaited = AwaitedRun(config.until_run_done) if config.until_run_done else None
        self._observe = observer
        self._reason = Reason.GAVE_UP
        self._started, self._started_unix = loop_time(), unix_time()
        self._busy_at = self._started
        self._said_waiting = False

    # -- life

    async def run(self) -> Summary:
        """Work until there is a reason to stop; returns what was done."""
        reason = Reason.GAVE_UP
        try:
            reason = await self._work()
        except BrokerError as error:
            log.error("giving up: %s", error)
        finally:
            await self._close(reason)
            self.summary.conclude(reason, loop_time() - self._started)
        return self.summary

    def request_stop(self, reason: Reason = Reason.DRAINED) -> None:
        """Stop in good order; asked a second time: at once."""
        if self._stop.is_set():
            self._abort.set()
        else:
            self._reason = reason
            self._stop.set()
        self._changed.set()

    def request_first_stop(self, reason: Reason = Reason.DRAINED) -> None:
        """As :meth:`request_stop`, of somebody who may say it twice: kernel and shell, when a terminal is closed."""
        if not self._stop.is_set():
            self.request_stop(reason)

    async def _work(self) -> Reason:
        self._watch_parent_pipe()
        for slot in self.slots:
            slot.start()
        async with running(self._settler.run(), self._renew(), self._publish_events()):
            async with running(self._lease(), self._watch_runs(), self._tick()):
                await self._stop.wait()
            await self._drain()
        return self._reason

    async def _drain(self) -> None:
        """What is done is settled, what is not goes back; children that do not answer in time are killed, unblamed."""
        log.info("stopping (%s): settling what is done, giving back the rest", self._reason.words)
        self._dispatcher.drain()
        self._observe("draining")
        if not await self._until(lambda: not self.leases.has(State.RUNNING), self.config.grace_seconds):
            for slot in self.slots:
                slot.kill()
            await self._until(lambda: not self.leases.has(State.RUNNING), CLOSE_SECONDS)
        self._dispatcher.drain()  # what was refused meanwhile, or waited for a child that died
        await self._until(lambda: not self.leases.has(State.COMPLETING), self.config.grace_seconds)

    async def _close(self, reason: Reason) -> None:
        def childless() -> bool:
            return all(slot.child is None for slot in self.slots)

        for slot in self.slots:
            slot.close()
        if not await self._until(childless, CLOSE_SECONDS):
            for slot in self.slots:
                slot.kill()
            self._abort.clear()  # a killed child is gone in milliseconds, and must not be left unreaped
            await self._until(childless, CLOSE_SECONDS)
        tasks, done = self.summary.chunks_processed, self.summary.parameters_processed
        self._events.emit(WorkerStopped, worker=self.config.name, reason=reason.value, tasks=tasks, done=done)
        await self._publish()
        await self.broker.close()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for ``condition``, at most ``seconds``, and not at all once the stop is a hard one."""
        deadline = loop_time() + seconds
        while not condition():
            self._changed.clear()
            left = deadline - loop_time()
            if left <= 0 or self._abort.is_set():
                return False
            await self._change_within(left)
        return True

    async def _change_within(self, seconds: float) -> None:
        # Not wait_for(): until Python 3.12 it swallows a cancellation that comes together with the change.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def seconds_to_beat(self) -> float:
        """When the regular work of this worker is due next; what sleeps as long wakes the process once, together."""
        return BEAT_SECONDS - (loop_time() - self._started) % BEAT_SECONDS

    async def _pause(self, seconds: float) -> None:
        """Sleep; an idle worker until its next beat, or until it has a task."""
        if not self.leases.is_idle:
            await asyncio.sleep(seconds)
            return
        self._busy.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds_to_beat()):
                await self._busy.wait()

    def _watch_parent_pipe(self) -> None:
        parent_pipe = self.config.parent_pipe_fd
        if parent_pipe is None:
            return
        loop = asyncio.get_running_loop()

        def on_readable() -> None:
            if not os.read(parent_pipe, 1):
                loop.remove_reader(parent_pipe)
                log.warning("the coordinator is gone: leaving")
                self.request_stop()

        loop.add_reader(parent_pipe, on_readable)

    # -- loops that end when the worker is to stop

    async def _lease(self) -> None:
        await self.backoff.call(self.broker.open)
        self._opened.set()
        about = self.broker.config
        log.info("connected to %s, namespace %s: %s", about.masked_url, about.namespace, self.config.offer)
        while True:
            limit = await self._room()
            deliveries = await self.backoff.call(partial(self._lease_some, limit))
            if deliveries:
                self._busy.set()
            await self._dispatcher.take(deliveries)

    async def _lease_some(self, limit: int) -> list[Delivery]:
        wait_seconds = TROUBLED_LEASE_WAIT_SECONDS if self.backoff.in_trouble else LEASE_WAIT_SECONDS
        return await self.broker.lease(limit, wait_seconds)

    def _check_waiting(self, now: float) -> None:
        """Say that there is nothing to do, once for each time."""
        waiting = self._opened.is_set() and now - self._busy_at >= WAITING_SECONDS
        if waiting and not self._said_waiting:
            active = ", ".join(self.runs.names)
            log.info("waiting for tasks%s", f" of {active}" if active else ": no run has any")
        self._said_waiting = waiting

    async def _room(self) -> int:
        """How many tasks the slots could take; waits until it is some."""
        while True:
            self._changed.clear()
            now = loop_time()
            rest = self._dispatcher.rounds.rest_seconds(now)
            if not rest and (room := self.leases.room(now)):
                return room
            await self._change_within(min(TICK_SECONDS, LEAST_PAUSE_SECONDS + max(rest, self.leases.room_in(now))))

    async def _watch_runs(self) -> None:
        await self._opened.wait()
        while True:
            await asyncio.sleep(self.seconds_to_beat())
            for run in await self.backoff.call(self.runs.refresh):
                self._dispatcher.forget(run)
            await self._dispatcher.redispatch()
            if self.runs.drains:
                self.request_first_stop()
            await self._check_run_done()

    async def _check_run_done(self) -> None:
        awaited = self._awaited
        if awaited is None:
            return
        record = await self.backoff.call(lambda: self.broker.find_run(awaited.run))
        if awaited.is_over(record):
            self.request_first_stop(Reason.FINISHED)
        elif record is not None and self.config.name in record.drained:
            self.request_first_stop()
        elif awaited.is_abandoned:
            self.request_first_stop(Reason.ABANDONED)

    async def _tick(self) -> None:
        while True:
            await self._pause(TICK_SECONDS)
            now = loop_time()
            self._dispatcher.tick(now)
            self._check_idle(now)
            self._check_waiting(now)

    def _check_idle(self, now: float) -> None:
        limit = self.config.exit_when_idle_seconds
        if not self.leases.is_idle:
            self._busy_at = now
        elif limit is not None and now - self._busy_at >= limit:
            self.request_first_stop(Reason.IDLE)

    # -- loops that go on while it drains

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.broker.config.lease_seconds / 3)
            if self.leases.has(*HELD):
                self._dispatcher.lose(await self.backoff.call(lambda: self.broker.renew(self.leases.held())))

    async def _publish_events(self) -> None:
        await self._opened.wait()
        said_at, promised = -math.inf, 0.0
        while True:
            if loop_time() - said_at > min(promised, self._heartbeat_seconds) - PUBLISH_SECONDS / 2:
                said_at, promised = loop_time(), self._heartbeat_seconds
                self._events.add(self.heartbeat())
            await self._publish()
            await self._pause(PUBLISH_SECONDS)

    async def _publish(self) -> None:
        events = self._events.flush()
        if events:
            with contextlib.suppress(BrokerError):
                await self.broker.publish_events(events)

    @property
    def _heartbeat_seconds(self) -> float:
        return self.config.heartbeat_seconds * (IDLE_HEARTBEAT if self.leases.is_idle else 1)

    def heartbeat(self) -> WorkerHeartbeat:
        """How this worker is now; also what its ``/metrics`` and ``/healthz`` show."""
        state = "draining" if self._stop.is_set() else "waiting" if self.backoff.in_trouble else "working"
        return WorkerHeartbeat(
            at=unix_time(),
            source=self.config.name,
            worker=self.config.name,
            host=self.config.host,
            pid=os.getpid(),
            state=state,
            interval=self._heartbeat_seconds,
            slots=tuple(slot.state() for slot in self.slots),
            holding=tuple(delivery.task.key for delivery in self.leases.held()),
            done=self.summary.parameters_processed,
            failed=self.summary.parameters_failed,
            tasks=self.summary.chunks_processed,
            started=self._started_unix,
            memory_bytes=resident_bytes(os.getpid()),
        )


async def run_worker(
    broker: Broker, config: WorkerConfig, shares: Shares, ahead: Mapping[int, Launched] | None = None
) -> Summary:
    """Run a worker to its end with SIGTERM, SIGINT and SIGHUP meaning: drain; one of the first two again: stop at once.
    The children that were launched ``ahead`` are the first of their slots."""
    import signal

    first = dict(ahead or {})

    def spawn(owner: ChildOwner, number: int) -> ChildProcess:
        return ChildProcess(owner, number, first.pop(number, None) or launch(share=shares.of(number)))

    descendants.adopt_orphans()
    worker = Worker(broker, config, spawn=spawn)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.request_stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        loop.add_signal_handler(signal.SIGHUP, worker.request_first_stop)
    metrics: contextlib.AbstractAsyncContextManager[Any] = contextlib.nullcontext()
    if config.metrics_port is not None:
        from ttg.metrics import serve_metrics, worker_metrics

        metrics = serve_metrics(config.metrics_port, lambda: worker_metrics(worker.heartbeat()), config.metrics_host)
    try:
        async with metrics, running(_reap(worker, first)):
            return await worker.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _reap(worker: Worker, waiting: Mapping[int, Launched]) -> None:
    """Adopted processes that have ended do not stay in the table of processes."""
    while True:
        await asyncio.sleep(worker.seconds_to_beat())
        slots = {slot.child.pid for slot in worker.slots if slot.child}
        reap_orphans(slots | {launched.process.pid for launched in waiting.values()} | worker.broker.processes)
