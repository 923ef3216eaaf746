"""What was executed and submitted in one simulated run, and why: every repetition has to be explained by a fault.

A system that heals itself hides its bugs: a task that gets lost is submitted again, and the table is right. So it is
not enough that each parameter is counted once. It must also have been submitted once and executed once, unless whoever
held it died, lost its lease, or gave it back half done, for a reason that the scenario knows.
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from simulation.child import Poison
from simulation.scenario import Kind, Scenario
from ttg.brokers.base import Delivery, Settlement
from ttg.messages import Task, indices_of


class Fate(enum.Enum):
    """What became of one execution of one parameter."""

    OPEN = "never settled"
    SETTLED = "settled"
    CHILD_DIED = "not reported: its child died"
    WORKER_DIED = "not settled: its worker died"
    LEASE_LOST = "refused: its worker had lost the lease"
    GIVEN_BACK = "dropped: its worker gave the task back"


LEASE_KINDS: set[Kind | Poison] = {
    Kind.FREEZE_WORKER,
    Kind.DROP_CONNECTION,
    Kind.STOP_BROKER,
    Kind.LOSE_EVERYTHING,
    Kind.LOSSY,
    Kind.SLOW,
    Kind.STALL,
    Kind.REPLACE_LOG,
    Kind.FAILOVER,
    Kind.READ_ONLY,
    Kind.REFUSED,
    Kind.REDELIVER,
}
EXPLAINED_BY: dict[Fate, set[Kind | Poison]] = {
    # A worker that is told to leave while the broker takes nothing cannot settle.
    Fate.OPEN: {Kind.FULL, *LEASE_KINDS},
    Fate.CHILD_DIED: {Kind.KILL_CHILD, Poison.KILLS_CHILD, Poison.HANGS, *LEASE_KINDS},
    Fate.WORKER_DIED: {Kind.KILL_WORKER, Poison.KILLS_WORKER},
    Fate.LEASE_LOST: LEASE_KINDS,
    # What a worker executes a second time, because it had lost the lease, may be given back under the same name.
    Fate.GIVEN_BACK: {Kind.STOP_COORDINATOR, *LEASE_KINDS},
}
# What it had settled is as it was, and nobody knows that it was done.
EXPLAINED_BY[Fate.SETTLED] = {Kind.FAILOVER}
RESUBMITTING = {Kind.LOSE_EVERYTHING, Kind.REPLACE_LOG, Kind.FAILOVER, Kind.STALL}
MOST_RESUBMISSIONS = 2
"""For one fault: one for the run record, one for what else is missing then."""
MOST_EXECUTIONS = 30


@dataclass(eq=False, slots=True)
class Execution:
    """One call of the function."""

    index: int
    fate: Fate = Fate.OPEN

    def decide(self, fate: Fate) -> None:
        self.fate = fate if self.fate is Fate.OPEN else self.fate


@dataclass(eq=False)
class Accounts:
    """Told by children, clients and the world; :meth:`complaints` is the verdict. ``struck``: the faults so far."""

    scenario: Scenario
    struck: set[Kind] = field(default_factory=set)
    coordinators: int = 0
    resubmissions: int = 0
    _gave_up: list[str] = field(default_factory=list)
    _submitted: Counter[int] = field(default_factory=Counter)
    _excused: Counter[int] = field(default_factory=Counter)
    _charged: Counter[int] = field(default_factory=Counter)
    _executions: dict[int, list[Execution]] = field(default_factory=lambda: defaultdict(list))
    _held: dict[str, dict[str, list[Execution]]] = field(default_factory=lambda: defaultdict(dict))
    _unreported: dict[object, list[Execution]] = field(default_factory=lambda: defaultdict(list))
    _dead: dict[str, Fate] = field(default_factory=dict)
    _void: dict[tuple[str, str], Fate] = field(default_factory=dict)

    # -- children

    def began(self, index: int, worker: str, task: str, child: object) -> None:
        """A call begins."""
        execution = Execution(index, self._dead.get(worker) or self._void.get((worker, task), Fate.OPEN))
        self._executions[index].append(execution)
        self._held[worker].setdefault(task, []).append(execution)
        self._unreported[child].append(execution)

    def reported(self, child: object) -> None:
        """What the child has executed so far is in its worker's hands."""
        self._unreported.pop(child, None)

    def child_died(self, child: object) -> None:
        """What it had not reported is executed again."""
        for execution in self._unreported.pop(child, []):
            execution.decide(Fate.CHILD_DIED)

    # -- workers

    def worker_died(self, worker: str) -> None:
        """It takes along what it had not settled."""
        self._dead[worker] = Fate.WORKER_DIED
        for executions in self._held.pop(worker, {}).values():
            for execution in executions:
                execution.decide(Fate.WORKER_DIED)

    def settled(self, worker: str, settlements: Sequence[Settlement], ours: Sequence[bool]) -> None:
        """The broker has recorded what became of these, or refused it."""
        for settlement, accepted in zip(settlements, ours, strict=True):
            if accepted:
                self._settle(worker, settlement)
            else:
                self.lost(worker, [settlement.delivery])

    def _settle(self, worker: str, settlement: Settlement) -> None:
        task, outcome = settlement.delivery.task, settlement.outcome
        retried = _indices(outcome.retries)
        final = {*indices_of(outcome.header.ranges), *(letter.index for letter in outcome.header.dead), *retried}
        self._charged.update(retried)
        if not final:
            self._void[worker, task.id] = Fate.GIVEN_BACK
        for execution in self._take(worker, task):
            execution.decide(Fate.SETTLED if execution.index in final else Fate.GIVEN_BACK)

    def lost(self, worker: str, deliveries: Iterable[Delivery]) -> None:
        """Others have these now."""
        for delivery in deliveries:
            self._void[worker, delivery.task.id] = Fate.LEASE_LOST
            for execution in self._take(worker, delivery.task):
                execution.decide(Fate.LEASE_LOST)

    def _take(self, worker: str, task: Task) -> list[Execution]:
        """Those of one delivery: a worker that lost a lease may hold the same task a second time."""
        first: dict[int, Execution] = {}
        executions = self._held[worker].pop(task.id, [])
        left = [execution for execution in executions if first.setdefault(execution.index, execution) is not execution]
        if left:
            self._held[worker][task.id] = left
        return list(first.values())

    # -- the queue

    def submitted(self, tasks: Sequence[Task], *, excused: bool = False) -> None:
        """Tasks were put on the queue; ``excused``: by a stranger, or the coordinator could not know whether."""
        self._submitted.update(_indices(tasks))
        if excused:
            self._excused.update(_indices(tasks))

    def gave_up(self, name: str, error: object) -> None:
        """Somebody who had been let in by the broker ended by an error."""
        self._gave_up.append(f"{name} gave up: {error}")

    # -- the verdict

    def complaints(self) -> list[str]:
        """Every repetition that no fault explains, as a line of text."""
        causes = {*self.struck, *self.scenario.poisons.values()}
        gave_up = [] if Kind.STOP_COORDINATOR in causes else self._gave_up
        return [*gave_up, *self._resubmitted(causes), *self._executed_again(causes)]

    def _resubmitted(self, causes: set[Kind | Poison]) -> Iterator[str]:
        losing = sum(fault.kind in RESUBMITTING for fault in self.scenario.faults)
        if self.resubmissions > MOST_RESUBMISSIONS * losing:
            yield f"missing tasks were submitted again {self.resubmissions} times, but {losing} faults lost any"
        most = self.coordinators + self.resubmissions
        for index, times in sorted(self._submitted.items()):
            if times > most + self._excused[index]:
                yield f"parameter {index} was submitted {times} times by {self.coordinators} coordinators"

    def _executed_again(self, causes: set[Kind | Poison]) -> Iterator[str]:
        for index, executions in sorted(self._executions.items()):
            fates = Counter(execution.fate for execution in executions)
            if len(executions) > MOST_EXECUTIONS + self.resubmissions + self.coordinators:
                yield f"parameter {index} was executed {len(executions)} times"
            wasted = sum(fates[fate] for fate, kinds in EXPLAINED_BY.items() if causes & kinds)
            if len(executions) - wasted > self._submitted[index] + self._charged[index]:
                told = ", ".join(f"{count} {fate.value}" for fate, count in fates.items())
                yield f"parameter {index} was executed {len(executions)} times: {told}"


def _indices(tasks: Iterable[Task]) -> list[int]:
    return [index for task in tasks for index in indices_of(task.ranges)]
