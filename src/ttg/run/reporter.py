"""A run's progress for the person who started it: one live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TextIO

from ttg.monitor.words import as_ending, as_time_left
from ttg.run.progress import Progress
from ttg.streams import CLEAR_LINE, show

PLAIN_SECONDS = 5.0
BAR_WIDTH = 24
LEAST_BAR_WIDTH = 6
LESS_URGENT = ("end", "workers", "rate", "eta", "retrying", "dead", "state")


def human_count(number: float) -> str:
    """A count with thousands separators, or with a unit above 10 million.

    >>> human_count(1234567), human_count(2.5e9)
    ('1,234,567', '2.50 G')
    """
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e7, "M")):
        if number >= limit:
            return f"{number / (1e6 if unit == 'M' else limit):.2f} {unit}"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def describe(progress: Progress, spared: Collection[str] = ()) -> str:
    """One line that says everything, but for the figures of the names ``spared``."""
    figures = ", ".join(text for name, text in _figures(progress).items() if name not in spared)
    return " – ".join([figures, *(text for text in (progress.note, progress.cause) if text)])


def _figures(progress: Progress) -> dict[str, str]:
    figures = {"counts": f"{human_count(progress.settled)}/{human_count(progress.total)}"}
    if progress.settled == progress.total:
        figures["state"] = "done"
    elif progress.paused:
        figures["state"] = "paused"
    elif progress.rate > 0:
        figures |= {"rate": f"{human_count(progress.rate)}/s", **_time_left(progress)}
    if progress.workers:
        figures["workers"] = f"{progress.workers} worker{'' if progress.workers == 1 else 's'}"
    elif progress.settled < progress.total and not progress.paused:
        figures["state"] = "waiting for workers"
    if progress.dead:
        figures["dead"] = f"{human_count(progress.dead)} failed"
    if progress.retrying:
        figures["retrying"] = f"{human_count(progress.retrying)} retrying"
    return figures


def _time_left(progress: Progress) -> dict[str, str]:
    if progress.eta_seconds is None:
        return {}
    left = as_time_left(progress.eta_seconds, progress.eta_least_seconds, progress.eta_most_seconds)
    end = as_ending(progress.at, progress.eta_seconds) if progress.at else ""
    return {"eta": f"ETA {left}"} | ({"end": end} if end else {})


def bar(progress: Progress, width: int = 120) -> str:
    """``━━━━────  42 % …``, never wider than ``width``: the bar gives way to the words, and the less urgent
    figures to the place where parameters fail; a cause's message is cut off."""
    message = progress.cause.partition(": ")[2]
    for spared in range(len(LESS_URGENT) + 1):
        words = f"{percent(progress)} %  {describe(progress, LESS_URGENT[:spared])}"
        if len(words) - len(message) <= width:
            break
    room = min(BAR_WIDTH, width - len(words) - 1)
    if room < LEAST_BAR_WIDTH:
        return words if len(words) <= width else words[: width - 1] + "…"
    filled = int(room * progress.settled / progress.total) if progress.total else room
    return f"{'━' * filled}{'─' * (room - filled)} {words}"


def percent(progress: Progress) -> str:
    """What share is settled; 100 only when all is."""
    return f"{100 * progress.settled // progress.total if progress.total else 100:3d}"


@dataclass
class TerminalReporter:
    """Redraws one line in place; :meth:`close` leaves the last one standing."""

    stream: TextIO
    _drawn: bool = False

    def __call__(self, progress: Progress) -> None:
        show(self.stream, CLEAR_LINE + bar(progress, _terminal_width() - 1))
        self._drawn = True

    def close(self) -> None:
        """End the line."""
        if self._drawn:
            show(self.stream, "\n")


@dataclass
class PlainReporter:
    """A line every :data:`PLAIN_SECONDS`, for logs and pipes; always one for the end."""

    stream: TextIO
    clock: Callable[[], float] = monotonic
    _next: float = field(default=0.0)
    _last: str = ""

    def __call__(self, progress: Progress) -> None:
        complete = progress.settled == progress.total
        if self.clock() < self._next and not complete:
            return
        self._next = self.clock() + PLAIN_SECONDS
        line = f"{percent(progress)} %  {describe(progress)}"
        if line != self._last:
            show(self.stream, line + "\n")
        self._last = line

    def close(self) -> None:
        """Nothing to end."""


@dataclass
class Silent:
    """For ``--quiet``."""

    def __call__(self, progress: Progress) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Nothing to end."""


def reporter_for(stream: Any = None, *, quiet: bool = False) -> TerminalReporter | PlainReporter | Silent:
    """The reporter that suits ``stream`` (default: standard error)."""
    if quiet:
        return Silent()
    stream = stream or sys.stderr
    if stream is None:  # closed
        return Silent()
    return TerminalReporter(stream) if stream.isatty() else PlainReporter(stream)


def _terminal_width() -> int:
    import shutil

    return shutil.get_terminal_size().columns
