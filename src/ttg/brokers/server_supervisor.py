"""Keeps the embedded server: starts it, starts it again if it dies, and ends it when nobody needs it any more.

Run as a script by :mod:`ttg.brokers.embedded`:
``python -I -S server_supervisor.py PARENT_PIPE_FD SOCKET_FOLDER PID_FILE COMMAND…``.
It imports only what starts in milliseconds. The coordinator and its local workers hold the write end of the parent
pipe; when the last of them is gone, however it died, the pipe ends and so does the server. :data:`DISCARD` in the pipe
says that nothing in the server is of use any more: it is killed at once. On Linux the kernel kills the server when the
supervisor itself dies.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

DISCARD = b"d"
TERMINATION_SECONDS = 5.0
SHORTEST_LIFE_SECONDS = 1.0
"""A server that lived shorter is not started again: it would only fail once more."""

PR_SET_PDEATHSIG = 1


def main() -> int:
    parent_pipe, socket_folder, pid_file = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    signal.signal(signal.SIGTERM, _exit)
    wakeup = _wakeup_on_child_death()
    farewell, long_lived = None, True
    while farewell is None and long_lived:
        started = time.monotonic()
        pid = _start(sys.argv[4:], pid_file)
        try:
            farewell = _wait_while_alive(pid, parent_pipe, wakeup)
        finally:
            _end(pid, wakeup, farewell or signal.SIGTERM)
        long_lived = time.monotonic() - started >= SHORTEST_LIFE_SECONDS
    if farewell is None:
        return 1
    _remove_folder(socket_folder)
    return 0


def _exit(*_: object) -> None:
    sys.exit(0)


def _wakeup_on_child_death() -> int:
    """A descriptor that becomes readable when a child process ends."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reader


def _start(command: list[str], pid_file: str) -> int:
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _die_with(supervisor)
            os.execv(command[0], command)
        finally:
            os._exit(127)
    with open(pid_file, "w", encoding="ascii") as file:
        file.write(str(pid))
    return pid


def _die_with(supervisor: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


def _wait_while_alive(pid: int, parent_pipe: int, wakeup: int) -> int | None:
    """Until nobody needs the server any more: the signal to end it with. ``None``: it ended by itself."""
    while _is_alive(pid):
        readable, _, _ = select.select([parent_pipe, wakeup], [], [])
        if parent_pipe in readable:
            return signal.SIGKILL if os.read(parent_pipe, 1) == DISCARD else signal.SIGTERM
        _drain(wakeup)
    return None


def _is_alive(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def _end(pid: int, wakeup: int, sent: int) -> None:
    """End the server: SIGTERM flushes its file; SIGKILL if that takes too long, or nobody wants the file."""
    deadline = time.monotonic() + TERMINATION_SECONDS
    while _is_alive(pid):
        os.kill(pid, sent)
        select.select([wakeup], [], [], max(0.0, deadline - time.monotonic()))
        _drain(wakeup)
        if time.monotonic() >= deadline:
            sent = signal.SIGKILL


def _drain(wakeup: int) -> None:
    try:
        os.read(wakeup, 4096)
    except BlockingIOError:
        return


def _remove_folder(folder: str) -> None:
    try:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main())
