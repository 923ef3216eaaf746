"""Whatever arrives, a decoder gives a message that keeps its promises, or a MessageError, and nothing else."""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg.errors import MessageError
from ttg.messages import (
    DeadLetter,
    ResultHeader,
    RunRecord,
    Task,
    check_ranges,
    decode,
    decode_event,
    encode,
    indices_of,
)
from ttg.results.encode import decode_payload, encode_rows
from ttg.spec import decode_spec
from ttg.worker.protocol import FrameReader, FromChild, Ready, ToChild, frame

KINDS = (Task, ResultHeader, DeadLetter, RunRecord)

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(["run", "id", "ranges", "attempt", "rows", "task", "event", "at", "source", "spec", "dead"])
documents = st.dictionaries(names | st.text(max_size=6), values, max_size=8).map(lambda d: json.dumps(d).encode())
anything = st.binary(max_size=200) | documents
TASK = encode(Task("r", "c1", ((0, 3), (7, 9))))


@pytest.mark.parametrize("kind", KINDS)
@given(data=anything)
def test_messages(kind: type[Any], data: bytes) -> None:
    try:
        message = decode(data, kind)
    except MessageError:
        return
    assert isinstance(message, kind)
    assert decode(encode(message), kind) == message


@given(data=anything)
def test_events_and_specifications(data: bytes) -> None:
    for decoder in (decode_event, decode_spec):
        try:
            decoder(data)
        except MessageError:
            continue


@given(st.integers(0, len(TASK)), st.binary(max_size=4))
def test_a_task_that_was_cut_or_altered(at: int, inserted: bytes) -> None:
    try:
        task: Task = decode(TASK[:at] + inserted + TASK[at + len(inserted) :], Task)
    except MessageError:
        return
    check_ranges(task.ranges)
    assert task.count == len(list(indices_of(task.ranges))) > 0


@given(data=st.binary(max_size=400))
def test_payloads(data: bytes) -> None:
    try:
        decode_payload(data)
    except MessageError:
        return


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_a_payload_that_was_altered(at: int, inserted: bytes) -> None:
    payload = encode_rows([1.5, 2.5, 3.5])
    at %= len(payload)
    try:
        decode_payload(payload[:at] + inserted + payload[at + len(inserted) :]).validate()
    except (MessageError, ValueError):
        return


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_frames(chunks: list[bytes]) -> None:
    for kind in (FromChild, ToChild):
        reader = FrameReader(kind)
        try:
            for chunk in chunks:
                list(reader.feed(chunk))
        except MessageError:
            continue


def test_a_frame_after_any_cut_is_complete() -> None:
    data = frame(Ready(), b"bulk")
    for cut in range(len(data) + 1):
        reader = FrameReader(FromChild)
        found = [*reader.feed(data[:cut]), *reader.feed(data[cut:])]
        assert found == [(Ready(), b"bulk")]


def test_a_frame_of_an_absurd_length_is_refused_at_once() -> None:
    with pytest.raises(MessageError):
        list(FrameReader(FromChild).feed(struct.pack("!II", 1 << 31, 0)))


def test_deep_nesting_is_refused() -> None:
    for kind in KINDS:
        with pytest.raises(MessageError):
            decode(b"[" * 100_000, kind)
    with pytest.raises(MessageError):
        decode(b'{"run":"r","id":"x","ranges":[[0,1]],"rows":[{"a":' + b"[" * 100_000, Task)
    assert msgspec.json.decode(TASK)["run"] == "r"
