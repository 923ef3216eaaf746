"""The child process of a slot: loads targets, executes assignments, reports. The only place where user code runs.

Started by :mod:`ttg.worker.process` with a socket to the supervisor and the read end of a parent pipe. One thread
does everything; it looks at the socket between slices. It imports no broker and no event loop, so that it starts fast
and user code finds nothing to break.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ttg.allocation import keep_freed_memory
from ttg.errors import FunctionError, MessageError, StoreError, TTGError
from ttg.function import check_store
from ttg.messages import Task
from ttg.spec import RunSpec, decode_spec
from ttg.stores import ObjectLost, Store
from ttg.worker.execution import Execution
from ttg.worker.failures import failure_of
from ttg.worker.limits import MARK, die_with_parent, limit_memory, noted_after
from ttg.worker.loading import Loaded, load_run
from ttg.worker.marks import Marks
from ttg.worker.protocol import (
    CALLER_PATH,
    Announced,
    Execute,
    Forget,
    FrameReader,
    FromChild,
    Ready,
    Refused,
    Report,
    SetUp,
    Setup,
    StopEarly,
    ToChild,
    Waiting,
    frame,
    with_rows,
)
from ttg.worker.surroundings import Surroundings
from ttg.worker.workdirs import work_of

RECEIVE_BYTES = 1 << 18
EXIT_LOST_SUPERVISOR = 70


class SupervisorConnection:
    """The child's end of the socket. ``StopEarly`` takes effect when it arrives, ahead of the queue."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames = FrameReader(ToChild)
        self._inbox: deque[tuple[Any, bytes]] = deque()
        self._stopped: set[int] = set()
        self._pid = os.getpid()

    def send(self, message: FromChild, bulk: bytes = b"") -> None:
        self._only_here()
        self._connection.sendall(frame(message, bulk))

    def receive(self) -> tuple[Any, bytes]:
        """The next setup, assignment or farewell; waits for it. ``EOFError`` when the supervisor is gone."""
        while not self._inbox:
            self._take(self._connection.recv(RECEIVE_BYTES))
        return self._inbox.popleft()

    def must_stop(self, number: int) -> bool:
        """Whether the supervisor has asked to end assignment ``number`` early. Looks at the socket without waiting."""
        self._only_here()
        with contextlib.suppress(BlockingIOError):
            self._take(self._connection.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT))
        return number in self._stopped

    def _only_here(self) -> None:
        """A copy that a call has forked, and that has returned from the call as well, must neither take what is for
        its original nor answer for it."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _take(self, data: bytes) -> None:
        if not data:
            raise EOFError("the supervisor closed the connection")
        for message, bulk in self._frames.feed(data):
            if isinstance(message, StopEarly):
                self._stopped.update(message.numbers)
            else:
                self._inbox.append((message, bulk))


@dataclass
class Child:
    """Answers the supervisor's messages, one after the other."""

    channel: SupervisorConnection
    runs: dict[str, Loaded] = field(default_factory=dict)
    memory_bytes: int | None = None
    marks: Marks = field(default_factory=Marks)
    surroundings: Surroundings = field(default_factory=Surroundings)
    python_path: Sequence[str] = ()
    work: Path | None = None

    def serve(self) -> None:
        """Until the supervisor closes the connection."""
        self.channel.send(Ready())
        while True:
            message, bulk = self.channel.receive()
            self._answer(message, bulk)

    def _answer(self, message: ToChild, bulk: bytes) -> None:
        if isinstance(message, Execute):
            self._execute(message.number, with_rows(message.task, bulk))
        elif isinstance(message, Setup):
            self._set_up(message, bulk)
        elif isinstance(message, Forget):
            self.runs.pop(message.run, None)

    def _set_up(self, setup: Setup, spec: bytes) -> None:
        self.marks.loading(setup.run.partition("/")[0])
        self.surroundings.restore()
        try:
            wanted = decode_spec(spec)
            # Past Python, for what hangs may hold its lock.
            faulthandler.dump_traceback_later(noted_after(wanted.limits.load_seconds), file=2)
            store, unshared = _attached(wanted, setup.secret)
            find_input = partial(_find_input, store, unshared)
            loaded = self.runs[setup.run] = load_run(wanted, setup.secret, self.python_path, find_input, self.work)
            loaded.use(store, unshared)
        except TTGError as error:
            self.channel.send(Refused(setup.run, str(error)))
        except BaseException as error:
            failure = failure_of(error, 0)
            text = f"cannot load the function: {failure.error}: {failure.message} {failure.place}"
            self.channel.send(Refused(setup.run, text.rstrip()))
        else:
            self.channel.send(SetUp(setup.run, unshared))
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _execute(self, number: int, task: Task) -> None:
        loaded = self.runs.get(task.life)
        if loaded is None:
            self.channel.send(Report(number, (), (), task.ranges, 0.0, 0.0))
            return
        spec = loaded.spec
        self._limit_memory(spec.limits.memory_bytes)

        def announce(offset: int, count: int, seconds: float) -> None:
            self.channel.send(Announced(number, offset, count, seconds))

        execution = Execution(task, loaded, spec.vectorized, self.marks, loaded.store, loaded.unshared)
        must_stop = partial(self.channel.must_stop, number)
        execution.run(spec.limits.checkpoint_seconds, announce, must_stop)
        if spec.limits.timeout_seconds is not None:
            announce(execution.executed, 0, 0.0)
        report, payload = execution.report(number, must_stop, lambda text: self.channel.send(Waiting(number, text)))
        self.marks.end()
        self.channel.send(report, payload)

    def _limit_memory(self, memory_bytes: int | None) -> None:
        if memory_bytes != self.memory_bytes:
            limit_memory(memory_bytes)
            self.memory_bytes = memory_bytes


def _attached(spec: RunSpec, secret: bytes | None) -> tuple[Store | None, str]:
    """The run's store, or why it cannot be used here: then results travel through the broker."""
    if spec.store is None:
        return None, ""
    try:
        check_store(spec.store, spec.identity, secret)
        return Store.attach(spec.store), ""
    except StoreError as error:
        return None, str(error)


def _find_input(store: Store | None, unshared: str, name: str) -> Path:
    if store is None:
        raise FunctionError(
            f"its function or what is shared is too large for the broker, and {unshared or 'the run has no store'}: "
            "start the run with --store PLACE, which its coordinator and its workers share"
        )
    try:
        return store.local_copy(name)
    except (StoreError, ObjectLost) as error:
        raise FunctionError(f"an input of the run cannot be had: {error}") from error


def main() -> None:
    """``python -c "…main()" SOCKET PARENT_PIPE PARENT``, started by the supervisor."""
    connection_fd, parent_pipe, parent = map(int, sys.argv[1:4])
    sys.argv[1:] = []
    die_with_parent(parent, parent_pipe)
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(all_threads=False)
    marks, work = Marks.of_this_process(), work_of(os.environ.get(MARK) or str(os.getpid()))
    with socket.socket(fileno=connection_fd) as connection:
        _keep_to_ourselves(connection_fd, parent_pipe)
        _serve(Child(SupervisorConnection(connection), marks=marks, python_path=_caller_path(), work=work))


def _keep_to_ourselves(*descriptors: int) -> None:
    """A program that user code starts must not hold the connections of this process."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)


def _caller_path() -> list[str]:
    """Taken out of the environment: it is not for what user code starts."""
    path = os.environ.pop(CALLER_PATH, "")
    return path.split(os.pathsep) if path else []


def _serve(child: Child) -> None:
    try:
        child.serve()
    except EOFError:
        os._exit(0)
    except (OSError, MessageError) as error:
        sys.stderr.write(f"ttg: the connection to the worker is broken: {error}\n")
        os._exit(EXIT_LOST_SUPERVISOR)
