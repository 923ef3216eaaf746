"""What a child has printed: read off its pipe, written to the log line by line, kept for calls that fail.

Between the lines stand the marks of :mod:`ttg.worker.marks`, which say whose they are.
"""

from __future__ import annotations

import logging
import os
import re

from msgspec.structs import replace

from ttg.worker.protocol import Report

log = logging.getLogger("ttg.worker.output")

HEAD_CHARACTERS, TAIL_CHARACTERS = 500, 1_500
KEPT_CHARACTERS = 32_000
LINE_CHARACTERS = 2_000
FAILED = "!"
FAILED_KEPT = 4_000
FAULT = "Fatal Python error: "
_MARK = re.compile(rb"\x1e([^ \x1e\x1f\n]{0,200})(?: (\d{1,18}))?(?: (\d{1,18}))?\x1f")  # user code may print the like


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


class Echo(logging.Handler):
    """Writes what calls print to a descriptor that does not block: what does not fit is left out, and that is said."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._left_out = 0

    @classmethod
    def start(cls, descriptor: int) -> None:
        """From now on, for all calls of this worker."""
        os.set_inheritable(descriptor, False)
        log.addHandler(cls(descriptor))

    def emit(self, record: logging.LogRecord) -> None:
        note = f"… {self._left_out} lines left out …\n" if self._left_out else ""
        try:
            os.write(self._descriptor, f"{note}{record.__dict__['printed']}\n".encode("utf-8", "replace"))
            self._left_out = 0
        except OSError:
            self._left_out += 1


class ChildOutput:
    """The output of one child: bytes come in, lines go to the log. ``label`` is the slot's name there."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._run, self._calls = "", range(0)
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
        for text, about, first, last in zip(*[iter(pieces)] * 4, strict=True):  # a text, and the groups of a mark
            self._take(text)
            self._on_mark(about.decode("utf-8", "replace"), first, last)
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
        """``report`` with what its failed calls have printed; of the next ones some may be known already."""
        failures = tuple(replace(failure, output=self._failed.pop(failure.index, "")) for failure in report.failures)
        return replace(report, failures=failures)

    def _on_mark(self, about: str, first: bytes | None, last: bytes | None) -> None:
        if about == FAILED:
            self._keep(int(first or 0))
        else:
            self._run, self._calls = about, range(int(first), int(last or first) + 1) if first else range(0)
        self._text.clear()
        self._fault.clear()

    def _keep(self, index: int) -> None:
        """What the failed call has printed, as far as it was that call. A failure that is never reported, because the
        call is made again, leaves a text behind."""
        self._failed.pop(index, None)
        text = str(self._text)
        if text and index in self._calls:
            several = len(self._calls) > 1
            self._failed[index] = f"(of the parameters {self._calls[0]} to {index})\n{text}" if several else text
        if len(self._failed) > FAILED_KEPT:
            del self._failed[next(iter(self._failed))]

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
        prefix = f"{self._label} {self._run}{_named(self._calls)}".rstrip()
        fields = _fields(self._run, self._calls)
        for line in lines:
            line = line.rstrip("\r").rpartition("\r")[2]  # of a progress bar, what a terminal shows in the end
            for start in range(0, len(line) or 1, LINE_CHARACTERS):
                more = " …" if start + LINE_CHARACTERS < len(line) else ""
                text = f"{prefix}: {line[start : start + LINE_CHARACTERS].rstrip()}{more}"
                # Not log.info(), which looks for its caller: a function may print a line per call.
                record = log.makeRecord(log.name, logging.INFO, "", 0, text, (), None, extra=fields)
                record.printed = line[start : start + LINE_CHARACTERS]
                log.handle(record)


def _fields(run: str, calls: range) -> dict[str, object]:
    """What a line in JSON has besides its text; ``last_index`` where it is of one of several calls."""
    fields: dict[str, object] = {"run": run} if run else {}
    if calls:
        fields["index"] = calls[0]
    if len(calls) > 1:
        fields["last_index"] = calls[-1]
    return fields


def _named(calls: range) -> str:
    """``[17]``, ``[17-48]``, or nothing."""
    if len(calls) > 1:
        return f"[{calls[0]}-{calls[-1]}]"
    return f"[{calls[0]}]" if calls else ""
