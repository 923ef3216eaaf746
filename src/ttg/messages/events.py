"""What happened, for people and monitors: the entries of the events log."""

from __future__ import annotations

from ttg.messages.codec import Message, decode
from ttg.messages.records import RunStatus
from ttg.messages.tasks import Failure, ResultHeader


class Event(Message, frozen=True, tag_field="event", kw_only=True):
    """Something that happened, for people and monitors. ``at`` is Unix time in seconds, ``source`` who says so."""

    at: float
    source: str


class RunEvent(Event, frozen=True, kw_only=True):
    """Something that happened to a run: to the one that has this ``identity``, whatever others are called."""

    run: str
    identity: str = ""


class RunStarted(RunEvent, frozen=True, tag="run_started"):
    """A coordinator took a run up (``resumed``: again). ``size`` is N, ``settled`` what was done before."""

    function: str
    size: int
    settled: int = 0
    resumed: bool = False
    names: tuple[str, ...] = ()


class RunProgress(RunEvent, frozen=True, tag="run_progress"):
    """The ledger's own figures, about once a second: committed state, never a guess from queue lengths. The time left
    is most likely between ``eta_least_seconds`` and ``eta_most_seconds``; ``note`` is what the run waits for."""

    size: int
    done: int
    dead: int
    retrying: int
    submitted: int
    chunks_settled: int
    rate: float
    eta_seconds: float | None
    workers: int
    eta_least_seconds: float | None = None
    eta_most_seconds: float | None = None
    note: str = ""


class RunEnded(RunEvent, frozen=True, tag="run_ended"):
    """A coordinator let go of a run."""

    status: RunStatus
    done: int
    dead: int
    seconds: float


class SlotState(Message, frozen=True):
    """What one slot is doing now. ``state``: starting, idle, busy, stopping. ``since`` is Unix time. ``note`` says what
    a busy one waits for, if it has to."""

    slot: int
    state: str
    since: float
    pid: int | None = None
    run: str | None = None
    task: str | None = None
    done: int = 0
    total: int = 0
    memory_bytes: int = 0
    note: str = ""


class WorkerHeartbeat(Event, frozen=True, tag="worker_heartbeat"):
    """A worker is alive, every ``interval`` seconds. ``holding`` are the tasks ("run/task") it holds leases on."""

    worker: str
    host: str
    pid: int
    state: str
    interval: float
    slots: tuple[SlotState, ...] = ()
    holding: tuple[str, ...] = ()
    done: int = 0
    failed: int = 0
    tasks: int = 0
    started: float = 0.0
    memory_bytes: int = 0


class WorkerStopped(Event, frozen=True, tag="worker_stopped"):
    """A worker said goodbye. ``reason``: finished, idle, drained, abandoned, gave_up."""

    worker: str
    reason: str
    tasks: int
    done: int


class WorkerLost(Event, frozen=True, tag="worker_lost"):
    """Another worker took over ``tasks`` tasks of a dead or silent one, ``after_seconds`` after it was last heard of.

    ``how`` is ``connection`` (it is gone from the broker's client list) or ``lease`` (its lease ran out) or
    ``redelivered`` (the broker saw the connection close).
    """

    worker: str
    tasks: int
    after_seconds: float
    how: str


class TasksTakenOver(Event, frozen=True, tag="tasks_taken_over"):
    """``source`` holds ``tasks`` ("run/task") now, which the broker had handed out before: perhaps their holder died,
    perhaps a connection broke, perhaps it holds them for long and moves them to a queue of its own."""

    tasks: tuple[str, ...]


class TaskSettled(Message, frozen=True):
    """One bar of the timeline: which slot worked on which task from when to when, and what came of it.

    ``deliveries`` is the delivery's own: more than 1 means the task was taken over from somebody.
    """

    run: str
    task: str
    slot: int
    started: float
    seconds: float
    done: int
    failed: int = 0
    dead: int = 0
    attempt: int = 1
    deliveries: int = 1
    identity: str = ""

    @classmethod
    def of(cls, header: ResultHeader, deliveries: int) -> TaskSettled:
        """What a settled task has left in the results log says all but how often it was delivered."""
        return cls(
            run=header.run,
            task=header.task,
            slot=header.slot,
            started=header.started,
            seconds=header.seconds,
            done=header.count,
            failed=header.failed,
            dead=len(header.dead),
            attempt=header.attempt,
            deliveries=deliveries,
            identity=header.identity,
        )


class TasksSettled(Event, frozen=True, tag="tasks_settled"):
    """Tasks that a worker settled since its last such event (batched: a few per second at most)."""

    worker: str
    tasks: tuple[TaskSettled, ...]


class ParametersFailed(RunEvent, frozen=True, tag="parameters_failed"):
    """Failures by cause since the last such event. ``sample`` is one of ``count`` alike, ``dead`` of them final."""

    worker: str
    count: int
    dead: int
    sample: Failure


class ChildDied(RunEvent, frozen=True, tag="child_died"):
    """A slot's child process ended unasked. ``suspects`` parameters are being looked into."""

    worker: str
    slot: int
    kind: str
    text: str
    task: str
    suspects: int


class FunctionRefused(RunEvent, frozen=True, tag="function_refused"):
    """A worker cannot or may not run a run's function. ``lasting``: it does not load there; otherwise that worker was
    not started for it."""

    worker: str
    text: str
    lasting: bool = True


class FunctionLoading(RunEvent, frozen=True, tag="function_loading"):
    """Importing a run's function takes long on a worker; ``text`` says where it is."""

    worker: str
    text: str


class TasksResubmitted(RunEvent, frozen=True, tag="tasks_resubmitted"):
    """The coordinator submitted again what the broker no longer had."""

    parameters: int
    reason: str


class BrokerTrouble(Event, frozen=True, tag="broker_trouble"):
    """A connection was lost, regained, or the broker refuses data. ``text`` is one line for people."""

    text: str
    recovered: bool = False


class MessageQuarantined(Event, frozen=True, tag="message_quarantined"):
    """A message that could not be decoded was moved to the dead letters and left alone."""

    queue: str
    reason: str


class FaultInjected(Event, frozen=True, tag="fault_injected"):
    """A demo or a test broke something on purpose."""

    fault: str
    text: str


AnyEvent = (
    RunStarted
    | RunProgress
    | RunEnded
    | WorkerHeartbeat
    | WorkerStopped
    | WorkerLost
    | TasksTakenOver
    | TasksSettled
    | ParametersFailed
    | ChildDied
    | FunctionRefused
    | FunctionLoading
    | TasksResubmitted
    | BrokerTrouble
    | MessageQuarantined
    | FaultInjected
)


def decode_event(data: bytes) -> AnyEvent:
    """Decode one entry of the events log."""
    event: AnyEvent = decode(data, AnyEvent)
    return event
