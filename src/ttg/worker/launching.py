"""Starting the process of a child; talking to it is :mod:`ttg.worker.process`.

Apart, because it needs nothing but small parts of the standard library: a worker launches its first children before it
imports the rest of itself, so that both start at the same time. Those of a local worker are copies of it, which saves
the start of an interpreter and most imports (:func:`forked`). All later ones are new interpreters (:func:`executed`),
since by then a worker has threads, an event loop and secrets.
"""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

SEND_BUFFER_BYTES = 4 << 20
"""Room for a whole report, as far as the kernel allows: the child goes on while the worker has not read it yet."""

MARK = "TTG_CHILD"
"""The variable by which everything that a child starts is recognised as its own."""


class Process(Protocol):
    """What is needed of one."""

    pid: int

    def wait(self) -> int:
        """Its exit code, or minus the number of the signal that ended it, once it has ended."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A child that starts up, with its :data:`MARK`. ``output`` is the read end of its output; it ends when
    ``parent_pipe`` is closed."""

    process: Process
    connection: socket.socket
    output: int
    parent_pipe: int
    mark: str


NO_SHARE: Mapping[str, str] = {}

Start = Callable[[Sequence[int], int, dict[str, str]], Process]
"""Takes the descriptors that a child needs (connection, parent pipe), where its output goes, and its environment."""


def executed(descriptors: Sequence[int], output: int, environment: dict[str, str]) -> Process:
    """A new interpreter."""
    arguments = map(str, (*descriptors, os.getpid()))
    return subprocess.Popen(
        [sys.executable, "-P", "-c", "from ttg.worker.child import main; main()", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=descriptors,
        start_new_session=True,
        env=environment,
    )


def launch(start: Start = executed, share: Mapping[str, str] = NO_SHARE) -> Launched:
    """Start a child, with the variables of its ``share`` of the machine; it says that it is ready when it is."""
    connection, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    their_parent_pipe, parent_pipe = os.pipe()
    output, their_output = os.pipe()
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    try:
        process = start((theirs.fileno(), their_parent_pipe), their_output, {**_environment(), **share, MARK: mark})
    except BaseException:
        connection.close()
        os.close(parent_pipe)
        os.close(output)
        raise
    finally:
        theirs.close()
        os.close(their_parent_pipe)
        os.close(their_output)
    return Launched(process, connection, output, parent_pipe, mark)


def _environment() -> dict[str, str]:
    """The broker's password is no business of user code."""
    environment = {**os.environ}
    environment.pop("TTG_CREDENTIALS_COMMAND", None)
    return environment


# ---------------------------------------------------------------------------------------------- a copy of this process


@dataclass
class _Forked:
    pid: int

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def ahead() -> Start:
    """How a local worker, which has no standard input, is to start its first children, while it has one thread and
    knows nothing yet.

    A copy has the environment of its original where the system shows it (``/proc/PID/environ``): not where user code
    must not see all of it. Other systems than Linux say that a copy must not do much without executing something.
    """
    return forked if sys.platform == "linux" and os.environ.keys() <= _environment().keys() else executed


def forked(descriptors: Sequence[int], output: int, environment: dict[str, str]) -> Process:
    """A copy of this process, made the same as :func:`executed` makes it as far as user code can see."""
    from ttg.worker.child import main  # now: it is what both share

    gc.freeze()  # the collector would write to each page that they share
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return _Forked(pid)
    try:
        _become(descriptors, output, environment)
        sys.argv = ["-c", *map(str, (*descriptors, parent))]
        main()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _become(descriptors: Sequence[int], output: int, environment: dict[str, str]) -> None:
    os.setsid()
    for number in (1, 2):
        os.dup2(output, number)
    kept = sorted(descriptors)
    for below, above in zip((2, *kept), (*kept, os.sysconf("SC_OPEN_MAX")), strict=True):
        os.closerange(below + 1, above)
    os.environ.update(environment)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 - its own to the end
    sys.modules["__main__"] = ModuleType("__main__")  # the command's own would run when multiprocessing imports it
