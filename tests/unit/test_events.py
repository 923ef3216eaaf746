"""Waiting for another thread: a signal that the main thread did not get itself is handled all the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from time import monotonic
from types import FrameType

import pytest

from ttg.run.events import Event


@pytest.fixture
def pressed() -> Iterator[list[int]]:
    """The signals that were handled."""
    handled: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        handled.append(number)

    before = signal.signal(signal.SIGUSR1, handler)
    yield handled
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_another_thread_got_is_handled_during_the_wait(pressed: list[int]) -> None:
    event, waiting, nothing = Event(), threading.Event(), threading.Event()
    heard_meanwhile: list[int] = []

    def other() -> None:
        waiting.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        deadline = monotonic() + 10.0
        while not pressed and monotonic() < deadline:
            nothing.wait(0.001)
        heard_meanwhile.extend(pressed)
        event.set()

    thread = threading.Thread(target=other)
    thread.start()
    waiting.set()
    assert event.wait()
    thread.join()
    assert heard_meanwhile == [signal.SIGUSR1]


def test_it_waits_as_long_as_it_is_told() -> None:
    event = Event()
    began = monotonic()
    assert not event.wait(0.25)
    assert monotonic() - began >= 0.25
    assert not event.wait(0)
    event.set()
    assert event.wait()
    assert event.wait(0)
