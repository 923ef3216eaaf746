"""What a child prints, marked with the call that prints it.

Standard output and standard error of a child are one pipe to its supervisor, for Python, compiled code and the programs
it starts alike. In between stand marks, which say whose text follows: one at the start of each slice of calls, and one
before text that Python prints, if that is another call's than the last. So calls that print nothing pay nothing for it.
:mod:`ttg.worker.output` reads them off::

    RS run US               the run is being loaded
    RS run first last US    these indices are executed
    RS ! index US           the call for index failed
    RS US                   nothing is executed
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TextIO

_LINE_BUFFERED = 1


def _nowhere() -> int | None:
    return None


class Marks:
    """``now`` tells the index that is executed, for whoever prints; ``said`` is that of the last mark. Without a
    ``descriptor`` nothing is marked."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.now: Callable[[], int | None] = _nowhere
        self._descriptor = descriptor
        self._flushes: list[Callable[[], object]] = []
        self.last_used: TextIO
        self._run = ""
        self.said: int | None = None

    @classmethod
    def of_this_process(cls) -> Marks:
        """Marks in the standard output and standard error of this process, which are one pipe."""
        marks = cls(os.dup(1))
        sys.stdout = sys.__stdout__ = _MarkedStream(sys.stdout, marks)  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = _MarkedStream(sys.stderr, marks)  # type: ignore[misc]
        marks.last_used = sys.stdout
        marks._flushes = [sys.stdout.flush, sys.stderr.flush, *_line_buffered_c()]
        return marks

    def loading(self, run: str) -> None:
        """What follows is printed while the run's function is loaded."""
        self._write(run)

    def begin(self, run: str, first: int, last: int) -> None:
        """What follows is printed by the calls for indices ``first`` to ``last``."""
        self._run = run
        self.said = first if first == last else None
        self._write(f"{run} {first} {last}")

    def failed(self, index: int) -> None:
        """The call for ``index`` has failed."""
        self._write(f"! {index}")

    def end(self) -> None:
        """Nothing is executed any more."""
        self.now = _nowhere
        self._write("")

    def before_text(self, stream: _MarkedStream) -> str:
        """Python is about to print to ``stream``; the mark that has to stand before it, if any."""
        if stream is not self.last_used:
            with contextlib.suppress(OSError, ValueError):
                self.last_used.flush()  # what was printed first arrives first
            self.last_used = stream
        index = self.now()
        if index is None or index == self.said:
            return ""
        self.said = index
        return f"\x1e{self._run} {index} {index}\x1f"

    def _write(self, text: str) -> None:
        if self._descriptor is None:
            return
        for flush in self._flushes:
            with contextlib.suppress(OSError, ValueError):  # closed by user code
                flush()
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"\x1e%b\x1f" % text.encode("utf-8", "replace"))


class _MarkedStream(io.TextIOWrapper):
    """Standard output or error as Python code sees it. Printing fails for no want of an encoding."""

    def __init__(self, stream: TextIO, marks: Marks) -> None:
        super().__init__(stream.detach(), "utf-8", "backslashreplace", line_buffering=True)  # type: ignore[attr-defined]
        self._marks = marks

    def write(self, text: str) -> int:
        marks = self._marks
        if (self is not marks.last_used or marks.now() != marks.said) and (mark := marks.before_text(self)):
            _write(self, mark)
        return _write(self, text)


_write = io.TextIOWrapper.write


def _line_buffered_c() -> list[Callable[[], object]]:
    """C's own standard output holds back whole blocks when it is a pipe, which a crash loses; how to flush it."""
    import ctypes  # a child has it already, for its life line

    library = ctypes.CDLL(None)
    for name in ("stdout", "__stdoutp"):  # Linux, macOS
        with contextlib.suppress(ValueError, AttributeError):
            stream = ctypes.c_void_p.in_dll(library, name)
            library.setvbuf(stream, None, _LINE_BUFFERED, ctypes.c_size_t(0))
            return [partial(library.fflush, stream)]
    return []
