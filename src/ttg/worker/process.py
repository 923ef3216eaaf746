"""A child as an operating-system process: spawn it, talk to it, keep its last words, notice its end.

The end of a child is the end of its *process*, seen by waiting for its id. The end of the socket or of its output
proves nothing: user code may close them, or fork and leave a process that keeps them open. What a child started
is killed with it: its process group, and on Linux also what left that for a session of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ttg import descendants
from ttg.errors import MessageError
from ttg.worker.launching import Launched, launch
from ttg.worker.limits import MARK, bytes_with_descendants, end_orphans
from ttg.worker.output import ChildOutput
from ttg.worker.protocol import FrameReader, FromChild, Report, ToChild, frame
from ttg.worker.workdirs import remove, work_of

RECEIVE_BYTES = 1 << 20
DYING_SECONDS = 0.5
MAX_READS_AFTER_DEATH = 256


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended. ``code`` as in :mod:`subprocess` (negative: a signal); ``output`` is what the call had
    printed that it executed, ``traceback`` what faulthandler wrote."""

    code: int
    output: str = ""
    traceback: str = ""


class ChildOwner(Protocol):
    """Who is told what a child says and how it ends. Nothing comes after :meth:`on_exit`."""

    def on_message(self, message: FromChild, bulk: bytes) -> None:
        """The child said something."""

    def on_broken(self, text: str) -> None:
        """The child lives, but there is no talking to it any more."""

    def on_exit(self, exit: Exit) -> None:
        """The child is gone, and so is everything it started."""


class ChildHandle(Protocol):
    """A child as its slot sees it; simulated ones live in virtual time."""

    pid: int

    def send(self, message: ToChild, bulk: bytes = b"") -> None:
        """Queue a message; never waits, never fails."""

    def kill(self) -> None:
        """SIGKILL it and everything in its session's process group; :meth:`ChildOwner.on_exit` follows."""

    def close(self) -> None:
        """Ask it to leave by closing the connection; ``on_exit`` follows, unless user code holds it up."""

    def memory_bytes(self, limit: int | None = None) -> int:
        """Memory now of it and all below it, exactly if it is about to exceed ``limit``; 0 if unknown."""

    def printed(self) -> str:
        """What the call, or the import, that goes on has printed."""


Spawn = Callable[[ChildOwner, int], ChildHandle]
"""Starts the child of the slot with that number."""


class ChildProcess:
    """A real child of the slot ``number``, which marks its output in the log: ``launched`` already, or started here.
    Construct it in a running event loop."""

    def __init__(self, owner: ChildOwner, number: int, launched: Launched | None = None) -> None:
        launched = launched or launch()
        self._process, self._connection = launched.process, launched.connection
        self._output, self._parent_pipe = launched.output, launched.parent_pipe
        self._mark = launched.mark
        self.pid = launched.process.pid
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(FromChild)
        self._unsent = bytearray()
        self._printed = ChildOutput(f"slot {number}")
        self._gone = False
        self._listen()

    def _listen(self) -> None:
        for descriptor in (self._connection.fileno(), self._output):
            os.set_blocking(descriptor, False)
        self._loop.add_reader(self._connection, self._on_readable)
        self._loop.add_reader(self._output, self._on_output)
        threading.Thread(target=self._wait, daemon=True, name=f"ttg-wait-{self.pid}").start()

    # -- talking

    def send(self, message: ToChild, bulk: bytes = b"") -> None:
        """What is said in one turn of the event loop is sent at its end, in one go."""
        if self._gone:
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += frame(message, bulk)

    def _flush(self) -> None:
        if self._gone:
            return
        del self._unsent[: self._send_some(self._unsent)]
        if self._unsent:
            self._loop.add_writer(self._connection, self._flush)
        else:
            self._loop.remove_writer(self._connection)

    def _send_some(self, data: bytes | bytearray) -> int:
        """How much of ``data`` was sent; a dead child takes everything, its exit is on its way."""
        try:
            return self._connection.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def _on_readable(self) -> bool:
        """Take what is there; whether there may be more."""
        try:
            data = self._connection.recv(RECEIVE_BYTES)
            for message, bulk in self._frames.feed(data):
                if isinstance(message, Report) and message.failures:
                    self._on_output()  # all that their calls have printed is there by now
                    message = self._printed.completed(message)
                self._owner.on_message(message, bulk)  # type: ignore[arg-type]
        except BlockingIOError:
            return False
        except (OSError, MessageError) as error:
            return self._break_off(f"sent what is no message ({error})")
        return bool(data) or self._break_off("closed its connection to the worker")

    def _break_off(self, text: str) -> bool:
        """The connection is useless. Mostly because the process is dying, which has the better story: wait for that."""
        self._loop.remove_reader(self._connection)
        if not self._gone:
            self._loop.call_later(DYING_SECONDS, self._report_broken, text)
        return False

    def _report_broken(self, text: str) -> None:
        if not self._gone:
            self._owner.on_broken(text)

    # -- its output

    def _on_output(self) -> bool:
        try:
            data = os.read(self._output, RECEIVE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._output)
            return False
        self._printed.feed(data)
        return True

    def printed(self) -> str:
        return self._printed.last_words[0]

    def memory_bytes(self, limit: int | None = None) -> int:
        return 0 if self._gone else bytes_with_descendants(self.pid, limit)

    # -- its end

    def kill(self) -> None:
        if not self._gone:
            self._kill_group()

    def close(self) -> None:
        if not self._gone:
            self._flush()
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    def _kill_group(self) -> None:
        below = list(descendants.below(self.pid))  # also those in sessions and groups of their own
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)
        for pid in below:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _wait(self) -> None:
        """In a thread: wait for the process, whatever happens to its pipes."""
        code = self._process.wait()
        end_orphans(MARK, self._mark)
        remove(work_of(self._mark))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
            self._loop.call_soon_threadsafe(self._on_exit, code)

    def _on_exit(self, code: int) -> None:
        self._gone = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what it forked and left behind
        self._read_the_rest()
        self._release()
        self._owner.on_exit(Exit(code, *self._printed.last_words))

    def _read_the_rest(self) -> None:
        for read in (self._on_readable, self._on_output):
            for _ in range(MAX_READS_AFTER_DEATH):
                if not read():
                    break
        self._printed.end()

    def _release(self) -> None:
        for descriptor in (self._connection, self._output):
            self._loop.remove_reader(descriptor)
        self._loop.remove_writer(self._connection)
        self._connection.close()
        os.close(self._output)
        os.close(self._parent_pipe)
