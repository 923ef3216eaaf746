"""The coordinator of one run: submits what is missing, collects what is settled, reports, and ends.

Five loops share one event loop and the :class:`Window`; each is a few lines and says what it waits for::

    submit   the window has room              cut chunks from what the ledger misses, put them on the queue
    collect  the results log grew             dedup by index, buffer, write a part when it is due, commit
    listen   the events log grew              who is alive, who refuses the target
    look     a second passed                  progress, cancelled?, workers dead?, broker forgetful?
    stop     somebody asked                   leave with what is settled; the rest is resumable

Nothing here is O(N). Whatever the broker forgets is submitted again from the ledger; a parameter that was executed
twice is counted once, by index.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from ttg.backoff import Backoff
from ttg.brokers.base import Broker, ResultMessage
from ttg.clock import loop_time, unix_time
from ttg.errors import (
    BrokerError,
    BrokerFull,
    BrokerUnavailable,
    FunctionError,
    MessageError,
    RunStopped,
)
from ttg.messages import (
    AnyEvent,
    BrokerTrouble,
    FunctionRefused,
    Ranges,
    RunEnded,
    RunProgress,
    RunRecord,
    RunStarted,
    Task,
    TasksResubmitted,
    WorkerHeartbeat,
    WorkerStopped,
    indices_of,
)
from ttg.planner import Planner, weight_among
from ttg.results.collector import Collector
from ttg.run.local_workers import LocalWorkers, log_tail
from ttg.run.options import RunOptions
from ttg.run.progress import Progress, RetryCount, Throughput
from ttg.run.result_consumer import ResultConsumer
from ttg.run.window import Window
from ttg.space import Space
from ttg.spec import RunSpec, decode_spec, encode_spec

log = logging.getLogger("ttg.run")

LOOK_SECONDS = 0.5
READ_LIMIT = 256
SILENT_HEARTBEATS = 3.0
RIVALS_SECONDS = 2.0
CANCEL_AGAIN_SECONDS = 0.2
FIRST_CONTACT_SECONDS = 1.0


@dataclass
class Coordinator:
    """Runs one run to its end: :meth:`run`. Construct it inside the event loop that runs it."""

    spec: RunSpec
    space: Space
    collector: Collector
    broker: Broker
    options: RunOptions
    report: Callable[[Progress], None] = lambda progress: None
    workers: LocalWorkers | None = None
    restart_broker: Callable[[], Awaitable[None]] | None = None
    generation: int = 0
    retried: tuple[int, ...] = ()

    window: Window = field(init=False)
    throughput: Throughput = field(default_factory=Throughput)
    retries: RetryCount = field(default_factory=RetryCount)
    heard: dict[str, tuple[float, WorkerHeartbeat]] = field(default_factory=dict)
    status: str = "active"
    note: str = ""
    chunks_settled: int = 0
    consumer: ResultConsumer = field(init=False)
    _news: list[AnyEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        prefix = f"{self.generation}-" if self.generation else ""
        planner = Planner(self.spec.size, self.options.chunk_size)
        self.window = Window(planner, self.collector.missing, prefix)
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._backoff = Backoff(self.broker.consumer, self._on_trouble, recover=self.restart_broker)
        keep = self.options.keep_result_bytes
        self.consumer = ResultConsumer(self.collector, self.broker, self.spec.run, keep, self._backoff)
        self._started = self._last_news = self._rivals_due = loop_time()

    # ------------------------------------------------------------------------------------------ the run

    async def run(self) -> str:
        """Returns the final status: ``finished``, ``finished_with_dead_letters``, ``interrupted``, ``cancelled``.

        Raises ``FunctionError`` (no worker can run it), ``RunStopped`` (too many failures), ``BrokerError`` and
        ``StorageError``. Whatever happens, everything collected so far is committed first.
        """
        try:
            await self._announce()
            await self._work()
            if self.status == "active":
                await self.consumer.flush()  # patiently: a disk that is full now is no reason to call the run failed
                self.status = "finished_with_dead_letters" if self.collector.dead_count else "finished"
        except asyncio.CancelledError:
            self.status = "interrupted"
            raise
        except BaseException:
            self.status = "failed"
            raise
        finally:
            await self._leave()
        return self.status

    def stop(self, status: str = "interrupted") -> None:
        """End the run early: drain local workers, commit what is settled. May be called again and again."""
        self.status = status
        self._backoff.exhausted = True
        self._stop.set()

    async def _announce(self) -> None:
        await self._first_contact()
        await self._backoff.call(partial(self.broker.publish_run, self._record("active")))
        if self.retried:
            await self._backoff.call(partial(self.broker.take_dead_letters, self.spec.run, self.retried))
        await self._tell(
            RunStarted(
                **self._signed(),
                run=self.spec.run,
                function=str(self.spec.function),
                size=self.spec.size,
                settled=self.settled,
                resumed=self.generation > 0,
                names=self.spec.names,
            )
        )

    async def _first_contact(self) -> None:
        """A broker that is only just up may refuse for a moment; one that is not there is reported soon."""
        deadline = loop_time() + FIRST_CONTACT_SECONDS
        while True:
            try:
                return await self.broker.open()
            except BrokerUnavailable:
                if loop_time() >= deadline:
                    raise
            await asyncio.sleep(LOOK_SECONDS / 5)

    async def _work(self) -> None:
        loops = [self._submit, self._listen, self._look]
        helpers = [asyncio.create_task(loop(), name=loop.__name__) for loop in loops]
        collecting = asyncio.create_task(self._collect(), name="_collect")
        stopping = asyncio.create_task(self._stop.wait(), name="_stop")
        try:
            await asyncio.wait({collecting, stopping, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and self.status != "active":
                await self._drain(collecting)
            for task in (*helpers, collecting):
                if task.done() and not task.cancelled():
                    task.result()
        finally:
            await _cancel(*helpers, collecting, stopping)

    async def _drain(self, collecting: asyncio.Task[None]) -> None:
        """Local workers settle what they have; what reaches the log by then is still collected."""
        if self.workers is not None:
            await self.workers.stop()
        await _cancel(collecting)
        try:
            while messages := await self.consumer.read(READ_LIMIT, 0.0):
                self._ingest(messages)
        except BrokerError as error:
            log.warning("results left in the broker, resume will collect them: %s", error)

    async def _leave(self) -> None:
        self._backoff.exhausted = True
        await self.consumer.flush()
        state = "finished" if self.status.startswith("finished") else self.status
        ended = RunEnded(
            **self._signed(),
            run=self.spec.run,
            status=self.status,
            done=self.collector.done_count,
            dead=self.collector.dead_count,
            seconds=loop_time() - self._started,
        )
        try:
            await self.broker.publish_run(self._record(state))
            await self._publish_progress(self.progress())
            await self.broker.publish_events([ended])
        except BrokerError as error:
            log.debug("the broker did not hear of the end: %s", error)
        self.report(self.progress())

    @property
    def settled(self) -> int:
        """Parameters that have a result or a dead letter here, on disk or about to be."""
        return self.collector.done_count + self.collector.dead_count

    # ------------------------------------------------------------------------------------------ submit

    async def _submit(self) -> None:
        while True:
            self._wake.clear()
            chunks = self.window.cut(self.slots, self._unassigned())
            if chunks:
                tasks = [self._task(name, ranges) for name, ranges in chunks]
                await self._backoff.call(partial(self.broker.submit, tasks))
            else:
                await self._wake.wait()

    def _unassigned(self) -> int:
        return self.spec.size - self.settled - self.window.in_flight - self.retries.waiting

    def _task(self, name: str, ranges: Ranges) -> Task:
        rows = None
        if not self.space.computable:
            rows = tuple(self.space[index] for index in indices_of(ranges))
        return Task(run=self.spec.run, id=name, ranges=ranges, rows=rows)

    @property
    def slots(self) -> int:
        """Slots of the workers heard of lately; before the first heartbeat, those expected."""
        self._forget_silent()
        return sum(len(beat.slots) for _, beat in self.heard.values()) or self.options.expected_slots

    # ------------------------------------------------------------------------------------------ collect

    async def _collect(self) -> None:
        while not self.collector.complete:
            messages = await self._backoff.call(partial(self.consumer.read, READ_LIMIT, LOOK_SECONDS))
            self._ingest(messages)
            await self.consumer.write_when_due()

    def _ingest(self, messages: list[ResultMessage]) -> None:
        for header in self.consumer.ingest(messages):
            self.window.saw(header)
            self.retries.saw(header.attempt, header.count + len(header.dead), header.failed)
            self.chunks_settled += 1
        if messages:
            self._last_news = loop_time()
            self._wake.set()
            self._check_failures()

    def _check_failures(self) -> None:
        limit = self.options.max_failures
        if limit is not None and self.collector.dead_count > limit:
            raise RunStopped(
                f"{self.collector.dead_count} parameters failed for good, more than --max-failures allows ({limit}): "
                f"see `ttg failed {self.spec.run} --group`, mend the function, then `ttg resume {self.spec.run}`"
            )

    # ------------------------------------------------------------------------------------------ listen

    async def _listen(self) -> None:
        after: str | None = "$"
        while True:
            entries = await self._backoff.call(partial(self.broker.read_events, after, READ_LIMIT, LOOK_SECONDS))
            for after, event in entries:  # noqa: B007 - the cursor to go on from
                self._on_event(event)

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, WorkerHeartbeat):
            known = event.worker in self.heard
            self.heard[event.worker] = (loop_time(), event)
            if not known:
                self._wake.set()
        elif isinstance(event, WorkerStopped):
            self.heard.pop(event.worker, None)
        elif isinstance(event, FunctionRefused) and event.run == self.spec.run:
            self._on_refusal(event)

    def _on_refusal(self, event: FunctionRefused) -> None:
        if event.lasting and not self.chunks_settled:  # afterwards it is that worker's own trouble
            raise FunctionError(event.text)
        log.warning("worker %s does not work on this run: %s", event.worker, event.text)

    def _forget_silent(self) -> None:
        now = loop_time()
        for worker, (at, beat) in list(self.heard.items()):
            if now - at > SILENT_HEARTBEATS * beat.interval + 1.0:
                del self.heard[worker]

    # ------------------------------------------------------------------------------------------ look

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.throughput.saw(loop_time(), self.settled)
            progress = self.progress()
            self.report(progress)
            self._look_after_workers()
            await self._publish_progress(progress)
            await self._tell(*self._news)
            self._news.clear()
            if await self._cancelled():
                self.stop("cancelled")
            await self._look_for_lost_tasks()
            await self._look_for_rivals()
            self._wake.set()

    def progress(self) -> Progress:
        """The run at this moment."""
        return Progress(
            run=self.spec.run,
            size=self.spec.size,
            done=self.collector.done_count,
            dead=self.collector.dead_count,
            retrying=self.retries.waiting,
            rate=self.throughput.rate,
            workers=len(self.heard),
            elapsed_seconds=loop_time() - self._started,
            note=self.note,
        )

    async def _publish_progress(self, progress: Progress) -> None:
        await self._tell(
            RunProgress(
                **self._signed(),
                run=progress.run,
                size=progress.size,
                done=progress.done,
                dead=progress.dead,
                retrying=progress.retrying,
                submitted=self.window.submitted,
                chunks_settled=self.chunks_settled,
                rate=progress.rate,
                eta_seconds=progress.eta_seconds,
                workers=progress.workers,
            )
        )

    def _look_after_workers(self) -> None:
        if self.workers is None:
            return
        for code in self.workers.look():
            log.warning(
                "a local worker ended with exit code %d%s", code, "" if self.workers.alive else "; none is left"
            )
        if self.workers.hopeless and not self.heard:
            raise RunStopped(
                f"every local worker ended and none can be started; last words:\n{log_tail(self.workers.command.logs)}"
            )

    async def _cancelled(self) -> bool:
        """Also notices that the broker has forgotten the run, which means it has forgotten its tasks as well."""
        try:
            record = await self.broker.find_run(self.spec.run)
            if record is None:
                await self.broker.publish_run(self._record("active"))
                self.consumer.cursor = None
                await self._submit_again("the broker had lost the run")
        except (BrokerUnavailable, BrokerFull):
            return False
        return record is not None and record.state == "cancelled"

    async def _look_for_rivals(self) -> None:
        """Other runs that are active here: the queue is shared with them, by priority."""
        if loop_time() < self._rivals_due:
            return
        self._rivals_due = loop_time() + RIVALS_SECONDS
        try:
            records = await self.broker.list_runs()
        except BrokerError:
            return
        rivals = [record for record in records if record.state == "active" and record.run != self.spec.run]
        self.window.weight = weight_among(self.spec.priority, [priority_of(record) for record in rivals])

    async def _look_for_lost_tasks(self) -> None:
        """Nothing arrives, nobody holds a task of this run, the queues are empty: then what is missing is lost."""
        if loop_time() - self._last_news < self.options.lost_after_seconds or self._held():
            return
        try:
            stats = await self.broker.stats()
        except BrokerError:
            return
        if any(stats.queue(name).messages for name in ("tasks", "tasks.retry")):
            return
        await self._submit_again("the broker no longer had the tasks")

    def _held(self) -> bool:
        prefix = f"{self.spec.run}/"
        return any(task.startswith(prefix) for _, beat in self.heard.values() for task in beat.holding)

    async def _submit_again(self, reason: str) -> None:
        missing = self.spec.size - self.settled
        if not missing:
            return
        log.warning("%s: submitting what is missing again", reason)
        self.window.start_over()
        self.retries.waiting = 0
        self._last_news = loop_time()
        self._wake.set()
        await self._tell(TasksResubmitted(**self._signed(), run=self.spec.run, parameters=missing, reason=reason))

    # ------------------------------------------------------------------------------------------ the broker

    def _on_trouble(self, text: str, recovered: bool) -> None:
        self.note = "" if recovered else text
        self._news.append(BrokerTrouble(**self._signed(), text=text, recovered=recovered))

    async def _tell(self, *events: AnyEvent) -> None:
        try:
            await self.broker.publish_events(events)
        except BrokerError as error:
            log.debug("event not published: %s", error)

    def _signed(self) -> dict[str, Any]:
        return {"at": unix_time(), "source": self.broker.consumer}

    def _record(self, state: str) -> RunRecord:
        return RunRecord(self.spec.run, msgspec.Raw(encode_spec(self.spec)), state)


def priority_of(record: RunRecord) -> int:
    """The priority of a run; 0 if its specification cannot be read."""
    try:
        return decode_spec(record.spec).priority
    except MessageError:
        return 0


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel, and see to it: a library may lose a cancellation that arrives together with an answer
    (``asyncio.wait_for`` does before Python 3.12), and a loop that goes on would keep the run from ending."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
