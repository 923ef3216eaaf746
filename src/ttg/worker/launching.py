"""Starting the process of a child; talking to it is :mod:`ttg.worker.process`.

Apart, because it needs nothing but small parts of the standard library: a worker launches its first children before it
imports the rest of itself, so that both start at the same time. Those of a local worker are copies of it, which saves
the start of an interpreter and most imports (:func:`forked`). All later ones are new interpreters (:func:`executed`),
since by then a worker has threads and an event loop.
"""

from __future__ import annotations

import gc
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

from ttg.worker.limits import MARK

SEND_BUFFER_BYTES = 4 << 20
"""Room for a whole report, as far as the kernel allows: the child goes on while the worker has not read it yet."""

ROOM_FOR_MARK = {MARK: " " * 1024}
"""In the environment of a worker whose first children are copies: room for more where the system shows theirs."""

SECRETS = ("TTG_BROKER", "TTG_SECRET", "TTG_CREDENTIALS_COMMAND")
"""No business of user code; so are these, where they say how to reach the broker:"""
PASSWORDS = ("REDIS_PASSWORD", "RABBITMQ_PASSWORD")

OF_THE_COMMAND = {"argparse", "bz2", "fcntl", "gettext", "lzma", "runpy", "shutil", "subprocess"}
OF_THE_COMMAND |= {f"ttg.{name}" for name in ("options", "streams", "units", "worker.launching", "worker.shares")}
"""What a worker has imported and a child has not: a file beside a function may have such a name."""


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
    return subprocess.Popen(
        _command(descriptors),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=descriptors,
        start_new_session=True,
        env=environment,
    )


def _command(descriptors: Sequence[int]) -> list[str]:
    return [
        sys.executable,
        "-P",
        "-c",
        "from ttg.worker.child import main; main()",
        *map(str, (*descriptors, os.getpid())),
    ]


def launch(start: Start = executed, share: Mapping[str, str] = NO_SHARE) -> Launched:
    """Start a child, with the variables of its ``share`` of the machine; it says that it is ready when it is."""
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    with ExitStack() as ours, ExitStack() as theirs:
        connection, their_connection = socket.socketpair()
        ours.enter_context(connection)
        theirs.enter_context(their_connection)
        their_connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        their_parent_pipe, parent_pipe = _pipe(theirs, ours)
        output, their_output = _pipe(ours, theirs)
        needed = their_connection.fileno(), their_parent_pipe
        process = start(needed, their_output, {**_environment(), **share, MARK: mark})
        ours.pop_all()  # it has started
    return Launched(process, connection, output, parent_pipe, mark)


def _pipe(read: ExitStack, write: ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with these."""
    ends = os.pipe()
    for stack, end in zip((read, write), ends, strict=True):
        stack.callback(os.close, end)
    return ends


def _environment() -> dict[str, str]:
    """What lets us in to the broker, and what signs, is no business of user code."""
    environment = {**os.environ}
    for name in (*SECRETS, *(PASSWORDS if "QUEUE_BACKEND" in environment else ())):
        environment.pop(name, None)
    return environment


# ---------------------------------------------------------------------------------------------- a copy of this process


@dataclass
class _Forked:
    pid: int

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def ahead() -> Start:
    """How a local worker, which has no standard input, is to start its first children, while it has one thread.

    Other systems than Linux say that a copy must not do much without executing something.
    """
    return forked if sys.platform == "linux" else executed


def forked(descriptors: Sequence[int], output: int, environment: dict[str, str]) -> Process:
    """A copy of this process, made the same as :func:`executed` makes it as far as user code can see."""
    from ttg.worker.child import main  # now: it is what both share

    command = _command(descriptors)
    if not _Shown.of_this_process().has_room(command, environment):
        return executed(descriptors, output, environment)
    gc.freeze()  # the collector would write to each page that they share
    pid = os.fork()
    if pid:
        return _Forked(pid)
    try:
        _become(descriptors, output, environment, command)
        main()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _become(descriptors: Sequence[int], output: int, environment: dict[str, str], command: list[str]) -> None:
    os.setsid()
    for number in (1, 2):
        os.dup2(output, number)
    kept = sorted(descriptors)
    for below, above in zip((2, *kept), (*kept, os.sysconf("SC_OPEN_MAX")), strict=True):
        os.closerange(below + 1, above)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)  # all of it: then C's own table refers to nothing that is written over
    _Shown.of_this_process().show(command, environment)
    sys.orig_argv[:] = command
    sys.argv[:] = ["-c", *command[command.index("-c") + 2 :]]
    sys.stdout, sys.stderr = _stream(1, "<stdout>"), _stream(2, "<stderr>")
    for name in [name for name in sys.modules if name in OF_THE_COMMAND or name.startswith("ttg.cli")]:
        del sys.modules[name]
    sys.modules["__main__"] = ModuleType("__main__")  # the command's own would run when multiprocessing imports it


def _stream(descriptor: int, name: str) -> io.TextIOWrapper:
    """As Python begins with; that of the original takes its log file for something to seek in."""
    raw = io.FileIO(descriptor, "wb", closefd=False)
    raw.name = name
    return io.TextIOWrapper(io.BufferedWriter(raw))


class _Shown(NamedTuple):
    """Where Linux shows the command and the environment of this process (``/proc/PID/cmdline``, ``environ``) from: the
    memory that it began with, which a copy has from its original. What a copy forks is recognised there."""

    command: range
    environment: range

    @classmethod
    def of_this_process(cls) -> _Shown:
        numbers = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        first, last, begin, end = map(int, numbers[45:49])  # proc(5): arg_start, arg_end, env_start, env_end
        return cls(range(first, last), range(begin, end))

    def has_room(self, command: Sequence[str], environment: dict[str, str]) -> bool:
        """Whether these can be shown."""
        return all(len(text) <= len(place) for text, place in zip(_texts(command, environment), self, strict=True))

    def show(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Write over what is shown."""
        import ctypes  # which a child needs anyway, for its life line

        for text, place in zip(_texts(command, environment), self, strict=True):
            ctypes.memmove(place.start, text.ljust(len(place), b"\0"), len(place))


def _texts(command: Sequence[str], environment: dict[str, str]) -> tuple[bytes, bytes]:
    lines = command, [f"{name}={value}" for name, value in environment.items()]
    command_text, environment_text = (b"".join(os.fsencode(line) + b"\0" for line in texts) for texts in lines)
    return command_text, environment_text
