"""The coordinator of one run: submits what is missing, collects what is settled, reports, and ends.

Five loops share one event loop; each is a few lines and says what it waits for::

    submit   the window has room              cut chunks from what the ledger misses, put them on the queue
    collect  the results log grew             dedup by index, buffer, write a part when it is due, commit
    events   the events log grew              who is alive, who refuses the function
    renew    a third of the lease passed      say that this coordinator lives
    tick     half a second passed             progress, cancelled or superseded?, workers dead?, broker forgetful?

Nothing here is O(N). Whatever the broker forgets is submitted again from the ledger; a parameter that was executed
twice is counted once, by index.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ttg.backoff import Backoff
from ttg.brokers.base import Broker, ResultMessage
from ttg.clock import loop_time, unix_time
from ttg.errors import BrokerError, BrokerFull, BrokerUnavailable, RunConflictError, RunStopped
from ttg.messages import (
    AnyEvent,
    BrokerTrouble,
    RunEnded,
    RunStarted,
    RunStatus,
    TasksResubmitted,
)
from ttg.planner import weight_among
from ttg.run.config import CoordinatorConfig
from ttg.run.ends import Sink, Source
from ttg.run.failing import Failing
from ttg.run.fleet import Fleet
from ttg.run.kept_history import KeptHistory
from ttg.run.leadership import Leadership, Standing
from ttg.run.local_workers import LocalWorkers, log_tail
from ttg.run.pace import Estimate, Pace
from ttg.run.progress import Progress
from ttg.run.refusing_workers import EXPECTED_SECONDS, HEARD_OF_SECONDS, RefusingWorkers
from ttg.run.result_consumer import ResultConsumer
from ttg.run.submission import Submission
from ttg.spec import RunSpec

log = logging.getLogger("ttg.run")

TICK_SECONDS = 0.5
READ_LIMIT = 256
RIVALS_SECONDS = 2.0
CANCEL_AGAIN_SECONDS = 0.2
FIRST_CONTACT_SECONDS = 1.0


@dataclass
class Coordinator:
    """Runs one run to its end: :meth:`run`. Construct it inside the event loop that runs it.

    ``epoch`` is the lowest that it may get: one more than the last that the run's folder knows. ``on_renewal`` is
    called when the run was claimed, and whenever its lease was renewed. ``retried`` are dead letters that get another
    life. ``force``: it may have another function than before. What happens is kept in the file ``history``.
    """

    spec: RunSpec
    source: Source
    sink: Sink
    broker: Broker
    options: CoordinatorConfig
    report: Callable[[Progress], None] = lambda progress: None
    workers: LocalWorkers | None = None
    restart_broker: Callable[[], Awaitable[None]] | None = None
    epoch: int = 1
    retried: tuple[int, ...] = ()
    force: bool = False
    history: Path | None = None
    on_renewal: Callable[[int], None] = lambda epoch: None

    leadership: Leadership = field(init=False)
    submission: Submission = field(init=False)
    consumer: ResultConsumer = field(init=False)
    fleet: Fleet = field(init=False)
    failing: Failing = field(init=False)
    kept: KeptHistory = field(init=False)
    pace: Pace = field(init=False)
    status: RunStatus = RunStatus.ACTIVE
    note: str = ""
    refusals: RefusingWorkers = field(init=False)
    _news: list[AnyEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = asyncio.Event()
        self._backoff = Backoff(self.broker.consumer, self._on_trouble, recover=self.restart_broker)
        self.failing = Failing(self.spec, self.options, self.sink.done_count, self.sink.dead_count)
        self.kept = KeptHistory(self.history, self.spec.run)
        self.fleet = Fleet(self.options.expected_slots)
        heard_of = 0.0 if self.restart_broker else HEARD_OF_SECONDS  # of a private broker there are no others
        patience = EXPECTED_SECONDS if self.workers is None else heard_of
        self.refusals = RefusingWorkers(self.spec.identity, patience)
        self.leadership = Leadership(self.broker, self.spec, epoch=self.epoch, force=self.force)
        planner = self.options.planner(self.sink.size)
        self.submission = Submission(
            self.spec, self.source, self.sink, self.broker, self._backoff, lambda: self.fleet.slots, planner
        )
        self.consumer = ResultConsumer(self.sink, self.broker, self.spec, self.options.keep_result_bytes, self._backoff)
        self._started = self._rivals_due = loop_time()
        self.pace = Pace(self._started, self.settled, shrinking=self.options.chunk_size is None)

    # ------------------------------------------------------------------------------------------ the run

    async def run(self) -> RunStatus:
        """Returns how it ended: finished, finished with dead letters, interrupted, or cancelled.

        Raises ``RunConflictError`` (the id is in use, or a newer coordinator has taken the run over), ``FunctionError``
        (no worker can run it), ``RunStopped`` (too many failures), ``BrokerError`` and ``StorageError``. Whatever
        happens, everything collected so far is committed first.
        """
        try:
            await self._until_told_to_stop()
            if self.status is RunStatus.ACTIVE or (self.status is RunStatus.INTERRUPTED and self.sink.complete):
                await self.consumer.flush()  # what came in a drain
                self.status = RunStatus.FINISHED_WITH_DEAD_LETTERS if self.sink.dead_count else RunStatus.FINISHED
        except asyncio.CancelledError:
            self.status = RunStatus.INTERRUPTED
            raise
        except BaseException:
            self.status = RunStatus.FAILED
            raise
        finally:
            await self._leave()
        return self.status

    async def _until_told_to_stop(self) -> None:
        """All there is to do; that the broker is away meanwhile is no failure of a run that is to end anyway."""
        try:
            await self._announce()
            await self._work()
        except BrokerError as error:
            if not self._stop.is_set():
                raise
            log.warning("the broker does not hear of the end: %s", error)

    def stop(self, status: RunStatus = RunStatus.INTERRUPTED) -> None:
        """End the run early: drain local workers, commit what is settled. May be called again and again."""
        self.status = status
        self._backoff.exhausted = True
        self._stop.set()

    async def _announce(self) -> None:
        await self._first_contact()
        record = await self._backoff.call(self.leadership.claim)
        self.on_renewal(record.epoch)
        self.submission.begin(record.epoch)
        self.consumer.cursor = record.results_from or None
        await self._backoff.call(partial(self.broker.retire_runs, self.options.keep_seconds))
        if self.retried:
            await self._backoff.call(partial(self.broker.take_dead_letters, self.spec.identity, self.retried))
        await self._publish(
            RunStarted(
                **self._signed(),
                function=str(self.spec.function),
                size=self.sink.size,
                settled=self.settled,
                resumed=record.epoch > 1,
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
            await asyncio.sleep(TICK_SECONDS / 5)

    async def _work(self) -> None:
        """Until all is settled, somebody asks us to stop, or a loop raises; the loops end with it."""
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(loop(), name=loop.__name__) for loop in (self.submission.run, self._tick)]
                others = [group.create_task(self._beside(loop)) for loop in (self._consume_events, self._renew)]
                collecting = group.create_task(self._collect(), name="_collect")
                stopping = group.create_task(self._stop.wait(), name="_stop")
                await asyncio.wait({collecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                await _cancel(*helpers, stopping)  # nobody submits or replaces workers any more; the lease is renewed
                if not collecting.done():
                    await self._drain(collecting)
                elif self.status is RunStatus.ACTIVE:
                    await self.consumer.flush()  # patiently, whatever the disk says: the lease is renewed meanwhile
                await _cancel(*others)
        except BaseExceptionGroup as group_of_errors:
            raise _first(group_of_errors) from None

    async def _beside(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop that goes on during a drain, which its trouble with the broker must not cut short."""
        try:
            await loop()
        except BrokerError:
            if not self._stop.is_set():
                raise

    async def _drain(self, collecting: asyncio.Task[None]) -> None:
        """Local workers settle what they have; what reaches the log by then is still collected."""
        if self.workers is not None:
            await self.workers.stop()
        await _cancel(collecting)
        async for messages in self.consumer.rest(READ_LIMIT):
            self._ingest(messages)

    async def _leave(self) -> None:
        self._backoff.exhausted = True
        if not self.leadership.leads:
            return  # the folder is not ours
        await self.consumer.flush()
        ended = RunEnded(
            **self._signed(),
            status=self.status,
            done=self.sink.done_count,
            dead=self.sink.dead_count,
            seconds=loop_time() - self._started,
        )
        await self.kept.save(*self._news, ended)
        try:
            await self._backoff.call(partial(self.leadership.end, self.status, self.consumer.kept_bytes))
            await self._publish_progress(self.progress())
            await self.broker.publish_events([*self._news, ended])
            await self.broker.retire_runs(self.options.keep_seconds)
        except BrokerError as error:
            log.debug("the broker did not hear of the end: %s", error)
        self.report(self.progress())

    @property
    def settled(self) -> int:
        """Parameters that have a result or a dead letter here, on disk or about to be."""
        return self.sink.done_count + self.sink.dead_count

    # ------------------------------------------------------------------------------------------ results and events

    async def _collect(self) -> None:
        while not self.sink.complete:
            messages = await self._backoff.call(partial(self.consumer.read, READ_LIMIT, TICK_SECONDS))
            self._ingest(messages)
            await self.consumer.write_when_due()

    def _ingest(self, messages: list[ResultMessage]) -> None:
        for header in self.consumer.ingest(messages):
            self.submission.saw(header)
            self.failing.saw(header)
            self.kept.saw(header)
            self.pace.saw(header.finished, header.seconds)
            self.fleet.settled(header.worker, header.slot, loop_time())
        self.submission.submit_again(self.consumer.unread)
        if messages:
            self._check_failures()

    def _check_failures(self) -> None:
        self.failing.check(self.sink.done_count, self.sink.dead_count, self.submission.retries.waiting, self.sink.size)

    async def _consume_events(self) -> None:
        after: str | None = "$"
        while True:
            entries = await self._backoff.call(partial(self.broker.read_events, after, READ_LIMIT, TICK_SECONDS))
            for after, event in entries:  # noqa: B007 - the cursor to go on from
                if self.fleet.saw(event, loop_time()):
                    self.submission.wake()
                self.failing.on_event(event)
                self.kept.on_event(event)
                self.refusals.on_event(event)

    # ------------------------------------------------------------------------------------------ leading

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.leadership.renewal_seconds)
            if await self._backoff.call(self.leadership.renew) is Standing.LEADS:  # otherwise: the next tick's matter
                self.on_renewal(self.leadership.record.epoch)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.fleet.forget_silent(loop_time())
            self._look()
            self._check_failures()
            progress = self.progress()
            self.report(progress)
            await self._check_standing()
            self._look_after_workers()
            self.refusals.check(self.fleet.beats.keys() | (self.workers.pids if self.workers else {}), loop_time())
            await self._publish_progress(progress)
            await self._publish_news()
            await self._check_lost()
            await self._look_for_rivals()
            await self.kept.save_when_due()
            self.submission.wake()

    async def _check_standing(self) -> None:
        """A broker that has forgotten the run has forgotten its tasks as well."""
        try:
            standing, record = await self.leadership.look()
            if standing is Standing.FORGOTTEN:
                self.submission.begin((await self.leadership.claim()).epoch)
                self.consumer.start_over()
                await self._submit_again("the broker had lost the run")
        except BrokerError as error:
            if self._backoff.is_final(error):
                raise
            return
        self.submission.pause(self.leadership.record)
        if standing is Standing.CANCELLED:
            self.stop(RunStatus.CANCELLED)
        elif standing is Standing.SUPERSEDED:
            assert record is not None
            self.leadership.leads = False
            who = "another coordinator" if record.identity == self.spec.identity else "another run of that id"
            raise RunConflictError(
                f"run {record.run} is led by {who} now ({record.leader}, epoch {record.epoch}): leaving it alone"
            )

    async def _check_lost(self) -> None:
        """Nothing arrives, nobody holds a task of this run, the queues are empty: then what is missing is lost."""
        if self.fleet.holds(self.spec.identity):
            return
        in_trouble = self._backoff.in_trouble or self.fleet.in_trouble
        lost_after, read_at = self.options.lost_after_seconds, self.consumer.up_to_date_at
        if await self.submission.find_lost(lost_after, read_at, in_trouble=in_trouble):
            await self._submit_again("the broker no longer had the tasks")

    async def _submit_again(self, reason: str) -> None:
        if missing := self.submission.start_over():
            log.warning("%s: submitting what is missing again", reason)
            await self._publish(TasksResubmitted(**self._signed(), parameters=missing, reason=reason))

    async def _look_for_rivals(self) -> None:
        """Other runs that are led by somebody now: the queue is shared with them, by priority."""
        if loop_time() < self._rivals_due:
            return
        self._rivals_due = loop_time() + RIVALS_SECONDS
        try:
            records = await self.broker.list_runs()
        except BrokerError:
            return
        mine, now = self.spec.identity, unix_time()
        rivals = [one.priority for one in records if one.identity != mine and one.status_at(now) is RunStatus.ACTIVE]
        self.submission.window.weight = weight_among(self.spec.priority, rivals)

    def _look_after_workers(self) -> None:
        if self.workers is None:
            return
        for code in self.workers.look(drained=self.leadership.record.drained):
            left = "" if self.workers.alive else "; none is left"
            log.warning("a local worker ended with exit code %d%s", code, left)
        if self.workers.hopeless and not self.fleet:
            raise RunStopped(
                f"every local worker ended and none can be started; last words:\n{log_tail(self.workers.command.logs)}"
            )

    # ------------------------------------------------------------------------------------------ telling

    def _look(self) -> None:
        now = loop_time()
        later, held = self.submission.retries.later(now), self.fleet.held(self.spec.run, now)
        left = later + len(held) if self.submission.paused else self.sink.size - self.settled
        self.pace.look(now, self.settled, left, later, self.fleet.slots_up, held)

    def progress(self) -> Progress:
        """The run at this moment."""
        retries = self.submission.retries
        return Progress(
            run=self.spec.run,
            total=self.sink.size,
            done=self.sink.done_count,
            dead=self.sink.dead_count,
            retrying=retries.waiting,
            workers=len(self.fleet),
            seconds=loop_time() - self._started,
            state=self.status,
            note=self._waits_for(),
            paused=self.submission.paused,
            cause=self.failing.cause,
            at=unix_time(),
            **(Estimate() if self.submission.paused else self.pace.estimate(retries)).figures(),
        )

    def _waits_for(self) -> str:
        retries = self.submission.retries.note(loop_time()) if self.pace.rests else ""
        known = (
            self.note,
            self.submission.note(self.fleet),
            self.refusals.note,
            self.fleet.note(self.spec.run),
            retries,
        )
        return next(filter(None, known), "")

    async def _publish_progress(self, progress: Progress) -> None:
        submitted, chunks = self.submission.window.submitted, self.kept.history.chunks
        await self._publish(progress.as_event(submitted=submitted, chunks_settled=chunks, **self._signed()))

    def _on_trouble(self, text: str, recovered: bool) -> None:
        self.note = "" if recovered else text
        self._news.append(BrokerTrouble(at=unix_time(), source=self.broker.consumer, text=text, recovered=recovered))

    async def _publish_news(self) -> None:
        """What does not reach a broker in trouble, which is most of it, is told when it is well again."""
        count = len(self._news)  # meanwhile there may be more
        if await self._publish(*self._news):
            del self._news[:count]

    async def _publish(self, *events: AnyEvent) -> bool:
        try:
            await self.broker.publish_events(events)
            return True
        except BrokerError as error:
            log.debug("event not published: %s", error)
            if isinstance(error, BrokerFull):
                await self._make_room()
            return False

    async def _make_room(self) -> None:
        """A full broker needs room more than ``--keep-results`` needs the results, which are on disk here."""
        if self.consumer.keep_result_bytes:
            log.warning("the broker is full: collected results are dropped from it, whatever --keep-results says")
        self.consumer.keep_result_bytes = 0
        await self.consumer.flush()

    def _signed(self) -> dict[str, Any]:
        return {"at": unix_time(), "source": self.broker.consumer, "run": self.spec.run, "identity": self.spec.identity}


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group; whoever runs a coordinator wants to know one reason."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel, and see to it: a library may lose a cancellation that arrives together with an answer
    (``asyncio.wait_for`` does before Python 3.12), and a loop that goes on would keep the run from ending."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
