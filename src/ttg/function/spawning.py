"""One execution of a program: started, read while it runs, and ended with everything that it started."""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ttg import descendants

READ_BYTES = 1 << 18
WORDS_BYTES = 4_000
"""What is kept of standard error."""
_POLL_MS = 20
_READS_AFTER_END = 4_096
_INHERITED = [signal.SIGINT, signal.SIGPIPE]
"""Python, or a child, ignores them: a program expects them as they usually are."""


class Tail:
    """The last ``most`` bytes, at least, of what may be much more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray()
        self.is_cut = False

    def add(self, data: bytes) -> None:
        """More of it."""
        self._bytes += data
        if len(self._bytes) > 2 * self._most + READ_BYTES:
            del self._bytes[: -self._most]
            self.is_cut = True

    def text(self) -> str:
        """What there is of it; what is no UTF-8 is replaced."""
        return self._bytes.decode("utf-8", "replace")

    def last_line(self) -> tuple[str, bool]:
        """The last line that is not blank, and whether it is whole."""
        line = self._bytes.rstrip()
        start = max(line.rfind(b"\n"), line.rfind(b"\r")) + 1
        return line[start:].decode("utf-8", "replace").strip(), bool(start) or not self.is_cut


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. ``code`` is negative for a signal."""

    code: int
    output: Tail
    errors: Tail


class Adopting:
    """In a child of a worker, nothing that a program starts escapes: what is orphaned is adopted here.

    Then the kernel must not end this process when the worker dies: it has to end the program first, which the thread
    that waits for the worker's end does (:func:`end_programs`).
    """

    on = False

    @classmethod
    def begin(cls) -> None:
        """This process calls programs, and does nothing else meanwhile."""
        descendants.adopt_orphans()
        cls.on = True


def end_programs() -> None:
    """This process is about to be killed: so is what it called."""
    if Adopting.on:
        descendants.end_children()


def run_program(file: str, arguments: list[str], environment: Mapping[str, str], keep_bytes: int) -> Ended:
    """Execute ``file`` in a process group of its own, without standard input, and wait for its end; its standard error
    is passed on to ours. Whatever it has started ends with it. ``OSError`` if it cannot be started."""
    spared = descendants.children_of(os.getpid()) if Adopting.on and descendants.has_children() else []
    if Adopting.on:
        descendants.outlive_parent()
    try:
        with _Execution(file, arguments, environment, keep_bytes) as execution:
            execution.wait()
            execution.end(spared)
            return execution.ended()
    finally:
        if Adopting.on:
            descendants.die_with_parent_thread()


class _Execution:
    def __init__(self, file: str, arguments: list[str], environment: Mapping[str, str], keep_bytes: int) -> None:
        self._output, self._errors = Tail(keep_bytes), Tail(WORDS_BYTES)
        self._decoder: codecs.IncrementalDecoder | None = None
        self._code: int | None = None
        self._pipes: dict[int, Tail] = {}
        self._ends: list[int] = []
        self._pidfd = -1
        try:
            self._pid = self._spawn(file, arguments, environment)
        except BaseException:
            self._close()
            raise

    def _spawn(self, file: str, arguments: list[str], environment: Mapping[str, str]) -> int:
        """By ``posix_spawn``, which does not copy this process, however large it is.

        Its ends of the pipes stay open here as well: that it closes them is then nothing to wake up for."""
        for tail in (self._output, self._errors):
            ours, end = os.pipe()
            self._pipes[ours] = tail
            self._ends.append(end)
            os.set_blocking(ours, False)
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        ends = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(self._ends, 1)]
        return os.posix_spawn(
            file,
            arguments,
            environment,
            file_actions=[nothing, *ends],
            setpgroup=0,
            setsigdef=_INHERITED,
            setsigmask=(),
        )

    def __enter__(self) -> _Execution:
        with suppress(AttributeError, OSError):  # a system without them
            self._pidfd = os.pidfd_open(self._pid)
        return self

    def __exit__(self, *error: object) -> None:
        """Also when it was interrupted."""
        if self._code is None:
            self._kill_group()
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._close()

    def _close(self) -> None:
        for descriptor in (*self._pipes, *self._ends, self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        self._pipes, self._ends, self._pidfd = {}, [], -1

    def wait(self) -> None:
        """Read until its process has ended: the end of its output proves nothing, for a daemon may hold that open."""
        poll = select.poll()
        for descriptor in (*self._pipes, self._pidfd):
            if descriptor >= 0:
                poll.register(descriptor, select.POLLIN)
        while self._code is None:
            ready = [descriptor for descriptor, _ in poll.poll(None if self._pidfd >= 0 else _POLL_MS)]
            for descriptor in ready:
                if descriptor in self._pipes:
                    self._read(descriptor)
            if self._pidfd < 0 or self._pidfd in ready:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if pid else None

    def _read(self, descriptor: int) -> bool:
        """Take what is there; whether there may be more."""
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        tail = self._pipes[descriptor]
        tail.add(data)
        if tail is self._errors:
            self._pass_on(data)
        return True

    def _pass_on(self, data: bytes, *, final: bool = False) -> None:
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        if text := self._decoder.decode(data, final):
            sys.stderr.write(text)

    def end(self, spared: Sequence[int]) -> None:
        """End what it left behind, and read what that has said until then."""
        if not Adopting.on:
            self._kill_group()
        elif spared or descendants.has_children():
            self._kill_group()
            descendants.end_children(spared)
        for descriptor in self._pipes:
            for _ in range(_READS_AFTER_END):  # somebody who cannot be killed may go on for ever
                if not self._read(descriptor):
                    break
        if self._decoder:
            self._pass_on(b"", final=True)

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)

    def ended(self) -> Ended:
        """What became of it."""
        assert self._code is not None
        return Ended(self._code, self._output, self._errors)
