"""The supervisor: leases tasks, hands them to slots, settles what became of them, keeps the leases alive.

Six loops share one event loop; each is a few lines and says what it waits for::

    lease      a slot has room                 lease, find the run, assign
    settle     something ended                 settle a batch, count it
    renew      a third of a lease passed       prolong what is held, drop what was lost
    tell       a quarter of a second passed    events, heartbeat
    look       a moment passed                 memory limits, tasks stuck behind a slow one, idle?
    follow     a second passed                 runs cancelled or finished?

A stop is orderly: stop leasing, ask children for what they have, give back what waits, settle, all while leases are
renewed and heartbeats sent; then close. A second request to stop skips the backoff.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from ttg.backoff import Backoff
from ttg.brokers.base import Broker, Delivery
from ttg.clock import loop_time, unix_time
from ttg.errors import BrokerError
from ttg.messages import (
    WorkerHeartbeat,
)
from ttg.metrics import serve_metrics, worker_metrics
from ttg.worker.config import Reason, Summary, WorkerConfig
from ttg.worker.dispatcher import Dispatcher
from ttg.worker.event_buffer import EventBuffer
from ttg.worker.flight import Held
from ttg.worker.launching import Launched
from ttg.worker.limits import resident_bytes
from ttg.worker.outcome import Death, Ended, untouched
from ttg.worker.process import ChildOwner, ChildProcess, Spawn
from ttg.worker.run_cache import KnownRun, RunCache, is_over
from ttg.worker.settler import Observer, Settler
from ttg.worker.slot import Phase, Slot

log = logging.getLogger("ttg.worker")

LEASE_WAIT_SECONDS = 1.0
TELL_SECONDS = 0.25
LOOK_SECONDS = 0.05
LEAST_PAUSE_SECONDS = 0.002
FOLLOW_SECONDS = 1.0
UNWANTED_SECONDS = 1.0
CLOSE_SECONDS = 2.0


def _nobody(moment: str, **data: Any) -> None:
    """The observer outside tests."""


class Worker:
    """One worker; construct it inside the event loop that runs it, and run it once."""

    def __init__(
        self, broker: Broker, config: WorkerConfig, *, spawn: Spawn = ChildProcess, observer: Observer = _nobody
    ) -> None:
        self.broker = broker
        self.config = config
        self.summary = Summary(config.name, config.host, broker.backend, slots=config.slots)
        self.runs = RunCache(broker, config.allow)
        secret = config.secret.encode() if config.secret else None
        self.slots = [Slot(number, self, spawn, secret) for number in range(config.slots)]
        self._events = EventBuffer(config.name)
        self._observe = observer
        self._changed = asyncio.Event()
        self.backoff = Backoff(config.name, self._events.note_trouble, config.give_up_seconds)
        self._settler = Settler(broker, self.backoff, self.summary, self._events, observer, self._changed.set)
        self._dispatcher = Dispatcher(self.runs, self.backoff, self._events, self._settler, self._assign, self._start)
        self._stop: asyncio.Future[Reason] = asyncio.get_running_loop().create_future()
        self._abort = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started, self._started_unix = loop_time(), unix_time()
        self._busy_at = self._started
        self._secluded = False
        self._draining = False

    # -- life

    async def run(self) -> Summary:
        """Work until there is a reason to stop; returns what was done. Raises ``BrokerRefused``."""
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
        if not self._stop.done():
            self._stop.set_result(reason)
        else:
            self._abort.set()
        self._changed.set()

    async def _work(self) -> Reason:
        self._watch_parent_pipe()
        for slot in self.slots:
            slot.start()
        working = self._start(self._open_and_lease())
        await self._first_end(self._stop)
        working.cancel()
        await self._first_end(asyncio.ensure_future(self._drain()))
        return self._stop.result()

    async def _open_and_lease(self) -> None:
        await self.backoff.call(self.broker.open)
        for loop in (self._settler.run, self._renew, self._tell, self._look, self._follow):
            self._start(loop())
        await self._lease()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)

    async def _first_end(self, end: asyncio.Future[Any]) -> None:
        """Wait for ``end``, or for the first error of a loop, which is raised."""
        while not end.done():
            done, _ = await asyncio.wait({end, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {end}:
                task.result() if not task.cancelled() else None
        end.result()

    async def _close(self, reason: Reason) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in self.slots:
            slot.close()
        if not await self._until(self._childless, CLOSE_SECONDS):
            for slot in self.slots:
                slot.kill()
            self._abort.clear()  # a killed child is gone in milliseconds, and must not be left unreaped
            await self._until(self._childless, CLOSE_SECONDS)
        self._events.note_stopped(reason.value, self.summary.chunks_processed, self.summary.parameters_processed)
        await self._publish()
        await self.broker.close()

    def _childless(self) -> bool:
        return all(slot.child is None for slot in self.slots)

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

    # -- leasing

    async def _lease(self) -> None:
        while True:
            limit = await self._room()
            deliveries = await self.backoff.call(partial(self.broker.lease, limit, LEASE_WAIT_SECONDS))
            deliveries = self._isolated(deliveries)
            self._dispatcher.on_hold.update(deliveries)
            for delivery in deliveries:
                self._observe("leased", delivery=delivery)
                await self._dispatcher.dispatch(delivery)

    async def _room(self) -> int:
        """How many tasks the slots could take; waits until it is some."""
        while True:
            self._changed.clear()
            now = loop_time()
            self._secluded = self._secluded and not self._is_idle()
            room = 0 if self._secluded else sum(slot.room(now) for slot in self.slots)
            if room and len(self._dispatcher.on_hold) < len(self.slots):
                return room
            due = min(slot.flight.room_in(now) for slot in self.slots)
            await self._change_within(min(LOOK_SECONDS, LEAST_PAUSE_SECONDS + due))

    def _assign(self, run: KnownRun, delivery: Delivery) -> None:
        now = loop_time()
        slot = min(self.slots, key=lambda slot: (slot.flight.backlog_seconds(now), len(slot.flight.queue)))
        slot.assign(Held(delivery, run))

    # -- what slots tell

    def on_ended(self, slot: Slot, held: Held, ended: Ended) -> None:
        """An assignment has an end."""
        self._settler.end(held.delivery, held.run, ended, slot.number, held.began_unix)

    def on_child_died(self, slot: Slot, death: Death, held: Held | None, suspects: int) -> None:
        """A child died unasked."""
        self.summary.children_died += 1
        task = held.task if held else None
        log.warning("slot %d: %s (%s, %d suspects)", slot.number, death.text, task.id if task else "idle", suspects)
        self._events.note_child_died(slot.number, death.kind, death.text, task, suspects)
        self._observe("child_died", slot=slot, death=death, held=held, suspects=suspects)

    def on_refused(self, run: KnownRun, text: str) -> None:
        """A run's function cannot be loaded here: its tasks go back, slowly."""
        if not run.refusal:
            log.error("run %s is refused: %s", run.name, text)
        run.refusal, run.lasting = text, True
        for slot in self.slots:
            refused = [held for held in slot.flight.queue if held.run is run and held.wanted]
            slot.disown(refused)
            for held in refused:
                self._dispatcher.hold(run, held.delivery)

    def on_change(self, moment: str, slot: Slot, held: Held | None = None) -> None:
        """A slot may have room."""
        self._changed.set()
        self._observe(moment, slot=slot, held=held)

    def _give_back(self, slot: Slot, helds: Sequence[Held]) -> None:
        """Return assignments untouched, uncharged."""
        wanted = [held for held in helds if held.wanted]
        slot.disown(wanted)
        for held in wanted:
            self._settler.end(held.delivery, held.run, untouched(held.task), slot.number)

    # -- leases

    def _held(self) -> list[Delivery]:
        """Everything this worker has a lease on."""
        in_flight = [held.delivery for slot in self.slots for held in slot.flight.queue if held.wanted]
        return [*in_flight, *self._dispatcher.on_hold, *(finished.delivery for finished in self._settler.waiting)]

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.broker.config.lease_seconds / 3)
            if self._held():
                self._drop(await self.backoff.call(lambda: self.broker.renew(self._held())))

    def _drop(self, lost: Sequence[Delivery]) -> None:
        """Somebody else has these now, except for those that were settled while the broker was being asked."""
        gone = set(lost)
        for slot in self.slots:
            unlucky = [held for held in slot.flight.queue if held.wanted and held.delivery in gone]
            if unlucky:
                log.warning("slot %d lost %d tasks to other workers: their leases ran out", slot.number, len(unlucky))
                slot.disown(unlucky)
            for held in unlucky:
                self._observe("lost", delivery=held.delivery)

    # -- runs

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            for run in await self.backoff.call(self.runs.refresh):
                self._let_go(run)
            await self._check_run_done()

    def _let_go(self, run: KnownRun) -> None:
        log.info("run %s is %s", run.name, run.record.status.words)
        for slot in self.slots:
            if not run.is_active:
                self._give_back(slot, [held for held in slot.flight.queue if held.run is run])
            slot.forget(run.name)

    async def _check_run_done(self) -> None:
        name = self.config.until_run_done
        if name is None or self._stop.done():
            return
        record = await self.backoff.call(lambda: self.broker.find_run(name.partition("@")[0]))
        if is_over(record, name):
            self.request_stop(Reason.FINISHED)

    # -- looking

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = loop_time()
            for slot in self.slots:
                slot.check_memory()
                self._give_back(slot, slot.stuck_behind_head(now))
                if slot.unwanted_for(now) > UNWANTED_SECONDS:
                    slot.kill()
            self._check_idle(now)

    def _check_idle(self, now: float) -> None:
        if self._held() or any(slot.head for slot in self.slots):
            self._busy_at = now
        limit = self.config.exit_when_idle_seconds
        if limit is not None and now - self._busy_at >= limit and not self._stop.done():
            self.request_stop(Reason.IDLE)

    # -- telling

    async def _tell(self) -> None:
        beat_at = 0.0
        while True:
            if loop_time() >= beat_at:
                beat_at = loop_time() + self.config.heartbeat_seconds
                self._events.note(self.heartbeat())
            await self._publish()
            await asyncio.sleep(TELL_SECONDS)

    async def _publish(self) -> None:
        events = self._events.issue()
        if events:
            with contextlib.suppress(BrokerError):
                await self.broker.publish_events(events)

    def heartbeat(self) -> WorkerHeartbeat:
        """How this worker is now; also what its ``/metrics`` and ``/healthz`` show."""
        return WorkerHeartbeat(
            at=unix_time(),
            source=self.config.name,
            worker=self.config.name,
            host=self.config.host,
            pid=os.getpid(),
            state="draining" if self._draining else "waiting" if self.backoff.in_trouble else "working",
            interval=self.config.heartbeat_seconds,
            slots=tuple(slot.state() for slot in self.slots),
            holding=tuple(delivery.task.key for delivery in self._held()),
            done=self.summary.parameters_processed,
            failed=self.summary.parameters_failed,
            tasks=self.summary.chunks_processed,
            started=self._started_unix,
            memory_bytes=resident_bytes(os.getpid()),
        )

    @property
    def last_contact(self) -> float:
        """When the broker last answered, on the event loop's clock: what liveness means."""
        return self.backoff.last_contact

    # -- leaving

    async def _drain(self) -> None:
        """What is done is settled, what is not goes back; children that do not answer in time are killed, unblamed."""
        self._draining = True
        log.info("stopping: settling what is done, giving back the rest")
        self._dispatcher.requeue_all()
        for slot in self.slots:
            self._give_back(slot, slot.flight.others() if slot.phase is Phase.UP else list(slot.flight.queue))
            slot.stop_early()
        self._observe("draining")
        if not await self._until(self._landed, self.config.grace_seconds):
            for slot in self.slots:
                slot.kill()
            await self._until(self._landed, CLOSE_SECONDS)
        await self._until(lambda: not self._settler.waiting, self.config.grace_seconds)

    def _landed(self) -> bool:
        """No answer is awaited from any child."""
        return not any(held.wanted for slot in self.slots for held in slot.flight.queue)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for ``condition``, at most ``seconds``, and not at all once there is unblock."""
        deadline = loop_time() + seconds
        while not condition():
            self._changed.clear()
            left = deadline - loop_time()
            if left <= 0 or self._abort.is_set():
                return False
            await self._change_within(left)
        return True

    def _is_idle(self) -> bool:
        return not self._held() and not any(slot.head for slot in self.slots)

    def _isolated(self, deliveries: list[Delivery]) -> list[Delivery]:
        """A task that may take the worker along is taken by an idle worker only, as its only one; what cannot stay goes
        back. Nothing more is leased until the worker is idle again."""
        dangerous = [delivery for delivery in deliveries if delivery.task.exclusive]
        if not dangerous:
            return deliveries
        kept = dangerous[:1] if self._is_idle() else []
        self._secluded = True
        for delivery in deliveries:
            if delivery not in kept:
                self._settler.give_back(delivery)
        return kept

    async def _change_within(self, seconds: float) -> None:
        # Not wait_for(): until Python 3.12 it swallows a cancellation that comes together with the change.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


async def run_worker(broker: Broker, config: WorkerConfig, ahead: Sequence[Launched] = ()) -> Summary:
    """Run a worker to its end with SIGTERM and SIGINT meaning: drain; again: stop at once. The children that were
    launched ``ahead`` are its first."""
    import signal

    first = list(ahead)

    def spawn(owner: ChildOwner, label: str) -> ChildProcess:
        return ChildProcess(owner, label, first.pop() if first else None)

    worker = Worker(broker, config, spawn=spawn)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.request_stop)
    try:
        async with _metrics_of(worker):
            return await worker.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _metrics_of(worker: Worker) -> AsyncIterator[None]:
    """``/metrics`` and ``/healthz`` of this worker while open, if it is to serve them."""
    port = worker.config.metrics_port
    if port is None:
        yield
        return
    async with serve_metrics(port, lambda: worker_metrics(worker.heartbeat()), worker.config.metrics_host):
        yield
