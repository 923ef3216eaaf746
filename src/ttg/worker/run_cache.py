"""What a worker knows of the runs whose tasks it leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.brokers.base import Broker
from ttg.function import allowed
from ttg.messages import RunRecord, Task, indices_of
from ttg.planner import Speed
from ttg.spec import RunSpec, decode_spec
from ttg.worker.protocol import Report

if TYPE_CHECKING:
    from ttg.space import Space

ACTIVE = "active"


@dataclass(eq=False)
class KnownRun:
    """A run. ``refusal`` says why this worker does not execute it; ``lasting`` if no other worker could either."""

    spec: RunSpec
    spec_bytes: bytes
    state: str = ACTIVE
    refusal: str = ""
    lasting: bool = False
    speed: Speed = field(default_factory=Speed)
    _space: Space | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The run's id."""
        return self.spec.run

    @property
    def is_active(self) -> bool:
        """Whether its tasks are to be executed."""
        return self.state == ACTIVE

    def saw(self, count: int, report: Report) -> None:
        """Learn the speed of the run from the report on a task of ``count`` parameters."""
        left = sum(stop - start for start, stop in report.remaining)
        self.speed = self.speed.after(count - left, report.seconds)

    def parameters_of(self, task: Task, index: int) -> dict[str, Any]:
        """The parameters at ``index``, as plain values that a message can carry."""
        if task.rows is not None:
            return dict(task.rows[list(indices_of(task.ranges)).index(index)])
        if self._space is None:
            from ttg.space import space_from_json  # only a dead letter needs it here

            self._space = space_from_json(self.spec.space)
        return dict(self._space[index])


class RunCache:
    """Run records, asked from the broker once and then again every second (:meth:`refresh`)."""

    def __init__(self, broker: Broker, allow: Sequence[str]) -> None:
        self._broker = broker
        self._allow = tuple(allow)
        self._runs: dict[str, KnownRun] = {}

    def known(self, run: str) -> KnownRun | None:
        """The run, if it was asked for before."""
        return self._runs.get(run)

    async def find(self, run: str) -> KnownRun | None:
        """The run; ``None`` if the broker does not know it (yet). ``MessageError`` for a spec that cannot be read."""
        if run not in self._runs:
            record = await self._broker.find_run(run)
            if record is None:
                return None
            self._runs[run] = self._read(record)
        return self._runs[run]

    async def refresh(self) -> list[KnownRun]:
        """Ask for the state of every run known; forgets and returns those that are over, or specified anew."""
        changed = []
        for name, run in list(self._runs.items()):
            record = await self._broker.find_run(name)
            run.state = "unknown" if record is None else record.state
            if not run.is_active or (record and bytes(record.spec) != run.spec_bytes):
                changed.append(self._runs.pop(name))
        return changed

    def _read(self, record: RunRecord) -> KnownRun:
        spec = decode_spec(record.spec)
        run = KnownRun(spec, bytes(record.spec), record.state)
        if not allowed(spec.function, self._allow, Path.cwd()):
            run.refusal = (
                f"this worker was not started for {spec.function}: start it in the folder of that file, "
                f"or with --allow '{spec.function}'"
            )
        return run
