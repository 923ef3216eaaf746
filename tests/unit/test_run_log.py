"""The fold of RabbitMQ's log of run records: whoever reads it, from wherever, comes to the same records."""

from __future__ import annotations

import random
from typing import Any, cast

import msgspec
import pytest

from ttg.brokers.rabbitmq import run_log
from ttg.brokers.rabbitmq.run_log import RunLog, record_message, removal_message
from ttg.brokers.rabbitmq.streams import StreamEntry, StreamReader
from ttg.messages import RunRecord, RunStatus


class Script:
    """A reader whose entries are all there."""

    usable = True

    def __init__(self, entries: list[StreamEntry]) -> None:
        self.entries = entries

    def arrived(self, limit: int) -> list[StreamEntry]:
        taken, self.entries = self.entries[:limit], self.entries[limit:]
        return taken


class Log:
    """What writers appended; each knows only what it has read."""

    def __init__(self) -> None:
        self.entries: list[StreamEntry] = []

    def append(self, message: Any) -> None:
        self.entries.append(StreamEntry(len(self.entries), message.headers or {}, message.body))

    def swap(self, old: RunRecord | None, new: RunRecord, spec: bytes | None = None) -> None:
        self.append(record_message("runs", old.revision if old else 0, new, spec, f"c{len(self.entries)}"))

    def read(self, start: int = 0) -> RunLog:
        log = RunLog(cast(StreamReader, Script(self.entries[start:])))
        while len(cast(Any, log._reader).entries):
            _ = log.records
        return log


def record(identity: str, revision: int, **fields: Any) -> RunRecord:
    return RunRecord(run="r", identity=identity, revision=revision, **fields)


def test_of_two_changes_of_one_record_the_first_counts() -> None:
    log = Log()
    log.swap(None, record("a", 1))
    log.swap(record("a", 1), record("a", 2))
    log.swap(record("a", 1), record("b", 3))
    assert log.read().records == {"r": record("a", 2)}


def test_one_who_begins_between_the_two_learns_the_truth_from_the_next_change() -> None:
    log = Log()
    log.swap(None, record("a", 1))
    log.swap(record("a", 1), record("a", 2))
    log.swap(record("a", 1), record("b", 3))
    assert log.read(2).records == {"r": record("b", 3)}
    log.swap(record("a", 2), record("a", 4))
    log.swap(record("a", 4), record("a", 5))
    assert log.read(2).records == log.read().records == {"r": record("a", 5)}


def test_a_removal_counts_for_what_was_seen_or_always() -> None:
    log = Log()
    log.swap(None, record("a", 1), b"spec")
    log.swap(record("a", 1), record("a", 2))
    log.append(removal_message("runs", record("a", 1), always=False))
    assert log.read().records == {"r": record("a", 2)}
    assert not log.read().is_removed("a")
    log.append(removal_message("runs", record("a", 1), always=True))
    assert log.read().records == {}
    assert log.read().is_removed("a")
    assert log.read().spec("a") is None
    log.swap(None, record("b", 3), b"other")
    log.append(removal_message("runs", record("a", 1), always=True))
    assert log.read().records == {"r": record("b", 3)}
    assert log.read().spec("b") == b"other"


def test_the_specification_of_a_run_that_is_over_is_let_go() -> None:
    log = Log()
    log.swap(None, record("a", 1), b"spec")
    assert log.read().spec("a") == b"spec"
    log.swap(record("a", 1), record("a", 2, status=RunStatus.FINISHED))
    assert log.read().spec("a") is None


def test_a_record_that_the_stream_may_have_dropped_is_remembered_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an old reader would reject, for ever, what a new one builds on."""
    monkeypatch.setattr(run_log, "FORGOTTEN_BYTES", 2_000)
    log = Log()
    log.swap(None, record("a", 1, status=RunStatus.FINISHED))
    other = RunRecord(run="other", identity="o", revision=1)
    log.swap(None, other)
    for revision in range(2, 60):
        log.swap(other, other := msgspec.structs.replace(other, revision=revision))
    beginning = len(log.entries)
    assert set(log.read().records) == {"other"}
    log.swap(None, record("b", 100))
    log.swap(record("b", 100), record("b", 101))
    old, new = log.read().records, log.read(beginning - 40).records
    assert old == new
    assert old["r"] == record("b", 101)


@pytest.mark.parametrize("seed", range(200))
def test_every_reader_comes_to_the_same_records(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers race, runs end and are removed; readers begin anywhere in the half that the stream may have dropped."""
    monkeypatch.setattr(run_log, "FORGOTTEN_BYTES", 4_000)
    draw, log, revision = random.Random(seed), Log(), 0
    for _ in range(300):
        run = draw.choice("xyz")
        before = Log()
        before.entries = log.entries[: max(0, len(log.entries) - draw.choice((0, 1, 3)))]
        views = [log.read().records.get(run), before.read().records.get(run)]
        for seen in draw.sample(views, draw.choice((1, 2))):
            revision += 1
            new = RunRecord(run=run, identity=draw.choice("ab"), revision=revision)
            if seen is not None and draw.random() < 0.1:
                log.append(removal_message("runs", seen, always=draw.random() < 0.5))
            else:
                log.swap(seen, new)
        if len(log.entries) > 400:
            break
    full = log.read().records
    for seen in full.values():  # a leader renews twice
        revision += 2
        log.swap(seen, between := msgspec.structs.replace(seen, revision=revision - 1))
        log.swap(between, msgspec.structs.replace(seen, revision=revision))
    assert all(log.read(start).records == log.read().records for start in range(0, len(log.entries) // 3, 7))
