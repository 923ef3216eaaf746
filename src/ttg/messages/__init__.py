"""The messages that travel through a broker: frozen, versionless, strictly decoded.

An unknown field or a wrong type is a :class:`~ttg.errors.MessageError` that ends with the path of the offending field.
JSON everywhere, so that a person can read a task, an event or a dead letter in a broker's own tools; only the results'
payload is binary (one Arrow IPC stream per settled task).

Indices travel as **ranges**: a list of half-open ``[start, stop)`` pairs, ascending and disjoint. A fresh chunk has one
range; what is left after a failure, a checkpoint or a crash has several. There is no second notation.
"""

from ttg.messages.codec import Message, decode, encode
from ttg.messages.events import (
    AnyEvent,
    BrokerTrouble,
    ChildDied,
    Event,
    FaultInjected,
    FunctionLoading,
    FunctionRefused,
    MessageQuarantined,
    ParametersFailed,
    RunEnded,
    RunProgress,
    RunStarted,
    SlotState,
    TaskSettled,
    TasksResubmitted,
    TasksSettled,
    TasksTakenOver,
    WorkerHeartbeat,
    WorkerLost,
    WorkerStopped,
    decode_event,
)
from ttg.messages.ranges import Ranges, check_ranges, count_indices, indices_of, ranges_of, split_ranges
from ttg.messages.records import RunRecord, RunStatus
from ttg.messages.stored import Files, Stored, StoreRef
from ttg.messages.tasks import FAILURE_KINDS, DeadLetter, Failure, Outcome, ResultHeader, Task, identity_of_key

__all__ = [
    "FAILURE_KINDS",
    "AnyEvent",
    "BrokerTrouble",
    "ChildDied",
    "DeadLetter",
    "Event",
    "Failure",
    "FaultInjected",
    "Files",
    "FunctionLoading",
    "FunctionRefused",
    "Message",
    "MessageQuarantined",
    "Outcome",
    "ParametersFailed",
    "Ranges",
    "ResultHeader",
    "RunEnded",
    "RunProgress",
    "RunRecord",
    "RunStarted",
    "RunStatus",
    "SlotState",
    "StoreRef",
    "Stored",
    "Task",
    "TaskSettled",
    "TasksResubmitted",
    "TasksSettled",
    "TasksTakenOver",
    "WorkerHeartbeat",
    "WorkerLost",
    "WorkerStopped",
    "check_ranges",
    "count_indices",
    "decode",
    "decode_event",
    "encode",
    "identity_of_key",
    "indices_of",
    "ranges_of",
    "split_ranges",
]
