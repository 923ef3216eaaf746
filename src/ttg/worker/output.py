"""What a child has printed: read off its pipe, written to the log line by line, kept for calls that fail.

Between the lines stand the marks of :mod:`ttg.worker.marks`, which say whose they are.
"""

from __future__ import annotations

import logging
import re

from msgspec.structs import replace

from ttg.worker.protocol import Report

log = logging.getLogger("ttg.worker.output")

HEAD_CHARACTERS, TAIL_CHARACTERS = 500, 1_500
KEPT_CHARACTERS = 32_000
LINE_CHARACTERS = 2_000
FAILED = "!"
FAULT = "Fatal Python error: "
_MARK = re.compile(rb"\x1e([^\x1e\x1f\n]{0,300})\x1f")


class Excerpt:
    """Beginning and end of a text that may be long; what is left out in between is said."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = self._left_out = 0

    def add(self, text: str) -> None:
        """More of it."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size > KEPT_CHARACTERS:
            self._shorten()

    def clear(self) -> None:
        """Another text begins."""
        if self._pieces:
            self._pieces, self._size, self._left_out = [], 0, 0

    def _shorten(self) -> None:
        text = "".join(self._pieces)
        head, tail = text[:HEAD_CHARACTERS], text[max(HEAD_CHARACTERS, len(text) - TAIL_CHARACTERS) :]
        self._left_out += len(text) - len(head) - len(tail)
        self._pieces, self._size = [head, tail], len(head) + len(tail)

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def __str__(self) -> str:
        self._shorten()
        gap = f"\n… {self._left_out:,} characters left out …\n" if self._left_out else ""
        return gap.join(self._pieces).strip()


class ChildOutput:
    """The output of one child: bytes come in, lines go to the log. ``label`` is the slot's name there."""

    def __init__(self, label: str) -> None:
        self._label = self._prefix = label
        self._fields: dict[str, object] = {}
        self._calls = range(0)
        self._text, self._fault = Excerpt(), Excerpt()
        self._rest = b""
        self._failed: dict[int, str] = {}

    @property
    def last_words(self) -> tuple[str, str]:
        """What was printed by the call, or by the slice of calls, that is executed now, and what faulthandler wrote."""
        return str(self._text), str(self._fault)

    def feed(self, data: bytes) -> None:
        """The next bytes of the pipe."""
        *pieces, data = _MARK.split(self._rest + data)
        for text, mark in zip(pieces[::2], pieces[1::2], strict=True):
            self._take(text)
            self._on_mark(*mark.decode("utf-8", "replace").split(" "))
        whole = data.rfind(b"\n") + 1
        if len(data) - whole > LINE_CHARACTERS:
            whole = len(data)
        self._rest = data[whole:]
        self._take(data[:whole])

    def end(self) -> None:
        """The pipe has ended."""
        self._take(self._rest)
        self._rest = b""

    def completed(self, report: Report) -> Report:
        """``report`` with what its failed calls have printed."""
        printed, self._failed = self._failed, {}
        if not printed:
            return report
        failures = tuple(replace(failure, output=printed.get(failure.index, "")) for failure in report.failures)
        return replace(report, failures=failures)

    def _on_mark(self, about: str, first: str = "", last: str = "") -> None:
        if about == FAILED:
            self._keep(int(first))
        else:
            self._calls = range(int(first), int(last) + 1) if first else range(0)
            indices = f"[{first}]" if first == last else f"[{first}-{last}]"
            self._prefix = f"{self._label} {about}{indices if first else ''}".rstrip()
            self._fields = {"run": about, "index": first if first == last else f"{first}-{last}"} if about else {}
        self._text.clear()
        self._fault.clear()

    def _keep(self, index: int) -> None:
        """What the failed call has printed, as far as it was that call."""
        text = str(self._text)
        if text and index in self._calls:
            several = len(self._calls) > 1
            self._failed[index] = f"(of the parameters {self._calls[0]} to {index})\n{text}" if several else text

    def _take(self, data: bytes) -> None:
        if not data:
            return
        text = data.decode("utf-8", "replace")
        if log.isEnabledFor(logging.INFO):
            self._log(text.removesuffix("\n").split("\n"))
        if not self._fault:
            text, fault, traceback = text.partition(FAULT)
            self._text.add(text)
            text = fault + traceback
        if text:
            self._fault.add(text)

    def _log(self, lines: list[str]) -> None:
        for line in lines:
            for start in range(0, len(line) or 1, LINE_CHARACTERS):
                more = " …" if start + LINE_CHARACTERS < len(line) else ""
                text = f"{self._prefix}: {line[start : start + LINE_CHARACTERS].rstrip()}{more}"
                # Not log.info(), which looks for its caller: a function may print a line per call.
                log.handle(log.makeRecord(log.name, logging.INFO, "", 0, text, (), None, extra=self._fields))
