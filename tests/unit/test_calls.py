"""The calls of an executor where nothing is executed: what is kept for them, and what comes too late."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ttg
from ttg.calls.executor import _request
from ttg.calls.queue import Call
from ttg.calls.session import Session
from ttg.errors import StoreError
from ttg.function import Packed
from ttg.stores.folder import FolderStore
from ttg.worker.calls import CallRunner


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def session(temporary: Path) -> Iterator[Session]:
    session = Session(*_request(1, partial(CallRunner), {}))
    yield session
    session._clear()


def test_what_comes_when_all_was_given_up_is_refused(session: Session) -> None:
    early, late = Call(Future(), b""), Call(Future(), b"")
    session.queue.put(early)
    assert session.queue.abandon() == [early]
    with pytest.raises(BrokenExecutor, match="has ended"):
        session.queue.put(late)
    assert not session.queue.pending


def test_what_could_not_be_kept_is_kept_the_next_time(session: Session) -> None:
    packed = Packed(b"x" * 100_000)
    obstacle = session.queue.inputs / f"{packed.name}.part"
    obstacle.mkdir()
    with pytest.raises(OSError, match="directory"):
        session.keep(packed)
    obstacle.rmdir()
    session.keep(packed)
    session.keep(packed)
    session.release(packed.name)
    assert (session.queue.inputs / packed.name).exists()
    session.release(packed.name)
    assert not (session.queue.inputs / packed.name).exists()


def test_an_executor_that_cannot_begin_leaves_nothing(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise StoreError("no space left")

    store = temporary / "store"
    store.mkdir()
    monkeypatch.setattr(FolderStore, "add_file", full)
    with pytest.raises(StoreError, match="no space left"):
        ttg.Executor(1, initializer=len, initargs=(b"x" * (5 << 20),), store=store)
    assert not list(store.iterdir())
    assert not list(temporary.glob("ttg-calls-*"))


def test_what_is_written_for_long_holds_up_nobody_else(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no future would be resolved meanwhile."""
    small, large = Packed(b"small"), Packed(b"large")
    session.keep(small)
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: Any) -> None:
        begun.set()
        go_on.wait(60)

    monkeypatch.setattr(FolderStore, "add_file", slow)
    with ThreadPoolExecutor(2) as threads:
        keeping = threads.submit(session.keep, large)
        assert begun.wait(60)
        releasing = threads.submit(session.release, small.name)
        try:
            releasing.result(5)
        finally:
            go_on.set()
        keeping.result(60)
