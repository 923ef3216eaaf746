"""Frames between supervisor and child survive any way of cutting the stream; rubbish is a clear error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg.errors import MessageError
from ttg.messages import Failure, Task
from ttg.messages.rows import packed
from ttg.worker.protocol import (
    Announced,
    FrameReader,
    FromChild,
    Ready,
    Report,
    Setup,
    StopEarly,
    ToChild,
    executing,
    frame,
)

TO_CHILD = [
    (Setup("run", b"secret"), b'{"spec": 1}'),
    executing(1, Task("run", "c1", ((0, 2),), rows=packed({"a": [1.5, None]}))),
    (StopEarly((1, 2)), b""),
]
FROM_CHILD = [
    (Ready(), b""),
    (Announced(1, 0, 5, 0.5), b""),
    (Report(1, ((0, 2),), (Failure(2, "exception", "E", "é"),), ((3, 9),), 0.1, 0.01), bytes(range(256)) * 9),
]


@given(st.lists(st.integers(1, 400), min_size=1))
@pytest.mark.parametrize(("kind", "messages"), [(ToChild, TO_CHILD), (FromChild, FROM_CHILD)])
def test_a_stream_cut_anywhere_gives_the_same_messages(kind: object, messages: list[Any], cuts: list[int]) -> None:
    stream = b"".join(frame(message, bulk) for message, bulk in messages)
    reader, received = FrameReader(kind), []
    while stream:
        piece, stream, cuts = stream[: cuts[0]], stream[cuts[0] :], [*cuts[1:], cuts[0]]
        received.extend(reader.feed(piece))
    assert received == [(message, bytes(memoryview(bulk))) for message, bulk in messages]


@pytest.mark.parametrize("rubbish", [b"\xff" * 64, frame(Ready())[:8] + b"\xc1" * 12, frame(Ready())])
def test_what_is_no_message_is_an_error(rubbish: bytes) -> None:
    with pytest.raises(MessageError, match="worker's own protocol"):
        list(FrameReader(ToChild).feed(rubbish))
