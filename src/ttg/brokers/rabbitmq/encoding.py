"""Our messages as people see them in the management UI: readable bodies, telling headers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ttg.brokers.base import ResultMessage
from ttg.brokers.rabbitmq.consumers import Received
from ttg.brokers.rabbitmq.publisher import Outgoing
from ttg.brokers.rabbitmq.rotation import Seen
from ttg.brokers.rabbitmq.streams import StreamEntry
from ttg.errors import MessageError
from ttg.messages import AnyEvent, DeadLetter, Outcome, ResultHeader, Task, decode, decode_event, encode


def task_message(queue: str, task: Task) -> Outgoing:
    """A task; its body says everything."""
    return Outgoing(queue, encode(task), "task", {"run": task.run, "identity": task.identity})


def result_message(queue: str, header: ResultHeader, payload: bytes) -> Outgoing:
    """Header as JSON, a newline (JSON of ours has none), the payload as it is."""
    headers = {
        "run": header.run,
        "identity": header.identity,
        "task": header.task,
        "worker": header.worker,
        "done": header.count,
        "failed": header.failed,
        "dead": len(header.dead),
        "milliseconds": round(1000 * header.seconds),
    }
    return Outgoing(queue, b"%b\n%b" % (encode(header), payload), "result", headers, "application/x-ttg-result")


def read_result(entry: StreamEntry) -> ResultMessage:
    """The inverse of :func:`result_message`; ``MessageError`` if it is none."""
    header, _, payload = entry.body.partition(b"\n")
    return ResultMessage(entry.cursor, decode(header, ResultHeader), payload)


def dead_letter_message(queue: str, letter: DeadLetter) -> Outgoing:
    """A parameter given up."""
    failure = letter.failure
    headers = {"run": letter.run, "identity": letter.identity, "index": letter.index, "attempts": letter.attempts}
    return Outgoing(queue, encode(letter), "dead letter", headers | {"error": failure.error[:200]})


def quarantine_message(queue: str, body: bytes, reason: str) -> Outgoing:
    """A message that cannot be decoded, as it came."""
    return Outgoing(queue, body, "quarantined", {"reason": reason[:500]}, "application/octet-stream")


def event_message(queue: str, event: AnyEvent) -> Outgoing:
    """An event."""
    return Outgoing(queue, encode(event), "event", {"source": event.source})


def read_events(entries: Iterable[StreamEntry]) -> Iterator[tuple[str, AnyEvent]]:
    """Cursors and events; what is none is skipped."""
    for entry in entries:
        try:
            yield entry.cursor, decode_event(entry.body)
        except MessageError:
            continue


def outcome_messages(outcome: Outcome, results: str, retry: str, dlq: str, tasks: str) -> Iterator[Outgoing]:
    """All that an outcome leaves behind."""
    yield result_message(results, outcome.header, outcome.payload)
    for task in outcome.retries:
        yield task_message(retry, task)
    for letter in outcome.header.dead:
        yield dead_letter_message(dlq, letter)
    for task in outcome.remainder:
        yield task_message(tasks, task)


def identity_of(kind: str, message: Seen | Received) -> str | None:
    """The identity of the run that a task or a dead letter belongs to; ``None`` if it is neither."""
    if kind == "dead letter":
        return str(message.headers.get("identity"))
    try:
        task: Task = decode(message.body, Task)
    except MessageError:
        return None
    return task.identity
