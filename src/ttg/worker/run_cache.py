"""What a worker knows of the runs whose tasks it leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ttg.brokers.base import Broker
from ttg.errors import MessageError
from ttg.function import allowed
from ttg.messages import RunRecord, RunStatus, Task, indices_of
from ttg.messages.rows import unpacked
from ttg.planner import Speed
from ttg.spec import FunctionRef, RunSpec, decode_spec, fingerprint, lacking
from ttg.worker.protocol import Report

if TYPE_CHECKING:
    from ttg.space import Space

STALE_KEPT = 1_000
GONE_LOOKS = 10
UNLED_LOOKS = 1_800
"""Half an hour: a coordinator that was drained from its node may have to wait for another node, and for its image."""
NO_SPEC = RunSpec("", FunctionRef("", "", ""), {}, 0, ())


@dataclass(eq=False)
class KnownRun:
    """A run. ``refusal`` says why this worker does not execute it; ``lasting`` if it was tried here; ``said`` is what
    the log says of it, ``unshared`` why its store cannot be used here, ``refusal_due`` when it is next told to whoever
    waits for the run."""

    spec: RunSpec
    spec_bytes: bytes
    record: RunRecord
    refusal: str = ""
    lasting: bool = False
    said: str = ""
    unshared: str = ""
    refusal_due: float = 0.0
    speed: Speed = field(default_factory=Speed)
    _space: Space | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The run's id."""
        return self.record.run

    @property
    def is_active(self) -> bool:
        """Whether its tasks are to be executed."""
        return self.record.is_active

    @property
    def life(self) -> str:
        """What its tasks are recognised by; see :attr:`Task.life`."""
        return self.record.life

    def has(self, task: Task) -> bool:
        """Whether ``task`` is to be executed by this specification: of this very run, submitted in this epoch."""
        return task.life == self.life

    def saw(self, count: int, report: Report) -> None:
        """Learn the speed of the run from the report on a task of ``count`` parameters."""
        left = sum(stop - start for start, stop in report.remaining)
        self.speed = self.speed.after(count - left, report.seconds)

    def parameters_of(self, task: Task, index: int) -> dict[str, Any]:
        """The parameters at ``index``, as JSON data that a message can carry."""
        if task.rows:
            place = list(indices_of(task.ranges)).index(index)
            return {name: column[place] for name, column in unpacked(task.rows, task.ranges).items()}
        if self._space is None:
            from ttg.space import space_from_json  # only a dead letter needs it here

            self._space = space_from_json(self.spec.space)
        return self._space.encoded_rows(index, index + 1)[0]


class RunCache:
    """Run records, asked from the broker once and then again every second (:meth:`refresh`)."""

    def __init__(
        self, broker: Broker, allow: Sequence[str], labels: Sequence[str] = (), programs: Sequence[str] = ()
    ) -> None:
        self._broker = broker
        self._allow, self._labels, self._programs = tuple(allow), tuple(labels), tuple(programs)
        self._runs: dict[str, KnownRun] = {}
        self._stale: dict[tuple[str, int], None] = {}

    def known(self, task: Task) -> KnownRun | None:
        """The run of ``task``, if it was asked for before."""
        run = self._runs.get(task.run)
        return run if run is not None and run.has(task) else None

    @property
    def names(self) -> list[str]:
        """The ids of the runs that this worker has had tasks of and that go on."""
        return sorted(self._runs)

    async def puts_off(self, run: KnownRun, task: Task) -> bool:
        """Whether the run is paused, as the broker has it now, and the task is one that its coordinator will submit
        again. Retries and pieces of what took a child along have a history, and are executed."""
        if not run.record.paused or task.attempt > 1 or task.bisect_depth or task.exclusive:
            return False
        record = await self._broker.find_run(run.name, fresh=True)
        if record is not None and record.life == run.life:
            run.record = record
        return run.record.paused

    @property
    def drains(self) -> bool:
        """Whether one of those runs wants this worker to leave."""
        return any(self._broker.consumer in run.record.drained for run in self._runs.values())

    def is_stale(self, task: Task) -> bool:
        """Whether the task is known to be of another life: of another run with this id, or of an earlier epoch."""
        return (task.identity, task.epoch) in self._stale

    async def find(self, task: Task) -> KnownRun | None:
        """The run of ``task``; ``None`` if the broker does not know it (yet), or the task :meth:`is_stale`.
        ``MessageError`` for a specification that cannot be read."""
        if (run := self.known(task)) or self.is_stale(task):
            return run
        record = await self._broker.find_run(task.run, fresh=True)
        if record is None:
            return None
        if task.identity != record.identity or task.epoch < record.epoch:
            self._note_stale(task)
        if task.life != record.life:
            return None
        spec = await self._broker.find_spec(record)
        if spec is None and record.is_active:
            return None
        self._runs[task.run] = self._read(record, spec)
        return self._runs[task.run]

    async def refresh(self) -> list[KnownRun]:
        """Ask for the record of every run known; forgets and returns those that are over, or led anew."""
        changed = []
        for name, run in list(self._runs.items()):
            record = await self._broker.find_run(name)
            if record is not None and record.life == run.life:
                run.record = record
            else:
                run.record = msgspec.structs.replace(run.record, status=RunStatus.ABANDONED)
            if not run.is_active:
                changed.append(self._runs.pop(name))
        return changed

    def _note_stale(self, task: Task) -> None:
        self._stale[task.identity, task.epoch] = None
        if len(self._stale) > STALE_KEPT:
            del self._stale[next(iter(self._stale))]

    def _read(self, record: RunRecord, spec_bytes: bytes | None) -> KnownRun:
        if spec_bytes is None:  # over, and nothing of it will be executed
            return KnownRun(NO_SPEC, b"", record)
        spec = decode_spec(spec_bytes)
        run = KnownRun(spec, spec_bytes, record)
        if fingerprint(spec) != record.fingerprint or spec.identity != record.identity:
            raise MessageError(f"the specification of run {record.run} is not the one that its record speaks of")
        run.refusal = self._refusal(spec)
        return run

    def _refusal(self, spec: RunSpec) -> str:
        if missing := lacking(spec.needs, self._labels):
            return f"this worker does not have {missing}: start one that has, with --label"
        for ref in spec.called:
            if not allowed(ref, self._allow, Path.cwd(), self._programs):
                option, target = ref.allowing
                here = "" if ref.kind == "program" else "in the folder of that file, or "
                here = f"start it {here}with {option} '{target}'"
                return f"this worker was not started for {ref}: {here}"
        return ""


class AwaitedRun:
    """The run that a worker was started for: ``RUN``, or ``RUN@IDENTITY``. Without an identity it is the one that goes
    by the id when the worker first sees it.

    It is over when its record says that nothing will follow; one that was interrupted, or whose coordinator is gone,
    may go on: for :data:`UNLED_LOOKS` looks (or two leases, if that is more) without a sign of a coordinator. A record
    that was there and is missing, or another run's, for :data:`GONE_LOOKS` looks was removed. What is counted is looks:
    while the broker is away nobody can lead.
    """

    def __init__(self, text: str) -> None:
        self.run, _, self._identity = text.partition("@")
        self._seen = self.is_abandoned = False
        self._gone = 0
        self._revision = self._unled = 0

    def is_over(self, record: RunRecord | None) -> bool:
        """What ``record``, the present one of the id, says. Ask once a second."""
        if record is None or self._identity not in ("", record.identity):
            self._gone += 1
            return self._seen and self._gone >= GONE_LOOKS
        self._identity, self._seen, self._gone = record.identity, True, 0
        self._unled = self._unled + 1 if record.revision == self._revision else 0
        self._revision = record.revision
        self.is_abandoned = self._unled >= max(UNLED_LOOKS, 2 * record.lease_seconds)
        return record.status.is_finished or record.status in (RunStatus.CANCELLED, RunStatus.FAILED)
