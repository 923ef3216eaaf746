"""Starting the process of a child; talking to it is :mod:`ttg.worker.process`.

Apart, because it needs nothing but small parts of the standard library: a worker launches its first children before it
imports the rest of itself, so that both start at the same time.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

SEND_BUFFER_BYTES = 4 << 20
"""Room for a whole report, as far as the kernel allows: the child goes on while the worker has not read it yet."""

MARK = "TTG_CHILD"
"""The variable by which everything that a child starts is recognised as its own."""

THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Launched:
    """A child that starts up, with its :data:`MARK`. ``output`` is the read end of its output; it ends when
    ``parent_pipe`` is closed."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    output: int
    parent_pipe: int
    mark: str


def launch() -> Launched:
    """Start a child; it says that it is ready when it is."""
    connection, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    their_parent_pipe, parent_pipe = os.pipe()
    output, their_output = os.pipe()
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    arguments = [str(number) for number in (theirs.fileno(), their_parent_pipe, os.getpid())]
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from ttg.worker.child import main; main()", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=their_output,
            stderr=their_output,
            pass_fds=(theirs.fileno(), their_parent_pipe),
            start_new_session=True,
            env={**_environment(), MARK: mark},
        )
    finally:
        theirs.close()
        os.close(their_parent_pipe)
        os.close(their_output)
    return Launched(process, connection, output, parent_pipe, mark)


def _environment() -> dict[str, str]:
    """The slots are the parallelism: linear algebra in a child has one thread, unless the environment says otherwise.

    A thread per core in every child fights over the cores, and NumPy's spin from the moment it is imported. The
    broker's password is no business of user code.
    """
    said = any(name in os.environ for name in THREAD_COUNTS)
    environment = {**os.environ} if said else {**os.environ, **dict.fromkeys(THREAD_COUNTS, "1")}
    environment.pop("TTG_CREDENTIALS_COMMAND", None)
    return environment
