"""``ttg monitor``: the picture of :mod:`ttg.monitor.terminal` again and again, on the whole screen and with keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.segment import Segment, Segments

from ttg.brokers.base import Broker
from ttg.clock import loop_time, unix_time
from ttg.monitor.feed import Feed, feeding
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.terminal import NEWS_IN_SHORT, WORKERS_IN_SHORT, render, render_short
from ttg.monitor.view import View, to_json
from ttg.streams import allow_escapes

LOOK_SECONDS = 0.1
ONE_KEY = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)

Until = Callable[[Snapshot], bool]


async def monitor(
    broker: Broker,
    *,
    watch_seconds: float | None = 2.0,
    as_json: bool = False,
    until: Until = lambda snapshot: False,
) -> Snapshot | None:
    """``ttg monitor``: watch ``broker`` (opened; closed at the end) every ``watch_seconds``, or look once (``None``).

    Goes on through outages of the broker, and says that the figures are old. Ends when ``until`` says so, asked several
    times a second, and returns what is to be shown last, or ``None`` if somebody quits. JSON is one view a line.
    """
    snapshot = Snapshot()
    if watch_seconds is not None:
        async with feeding(broker, snapshot) as task:
            watched = await _watch(snapshot, task, watch_seconds, as_json, until)
        snapshot.close(unix_time())
        return snapshot if watched else None
    try:
        await Feed(broker, snapshot).catch_up()
        show(snapshot, as_json=as_json)
        return None
    finally:
        await broker.close()


def show(snapshot: Snapshot, *, as_json: bool = False) -> None:
    """Print the picture once."""
    _Printed(_console(), as_json).draw(snapshot.at(unix_time()))


def _console() -> Console:
    """On standard output; what it is given to draw is printable (:func:`render`)."""
    allow_escapes(sys.stdout)
    return Console()


async def _watch(
    snapshot: Snapshot, watching: asyncio.Task[None], watch_seconds: float, as_json: bool, until: Until
) -> bool:
    """Show the picture until the run has ended or the feed gives up; ``False`` if somebody quits before."""
    with _shown(_console(), as_json) as shown:
        while not (watching.done() or until(snapshot) or shown.quits):
            shown.draw(snapshot.at(unix_time()))
            await _pause(watching, watch_seconds, lambda: until(snapshot) or shown.touched)
    if watching.done():
        watching.result()
    return not shown.quits


async def _pause(watching: asyncio.Task[None], seconds: float, cut_short: Callable[[], bool]) -> None:
    deadline = loop_time() + seconds
    while (left := deadline - loop_time()) > 0 and not watching.done() and not cut_short():
        await asyncio.wait([watching], timeout=min(left, LOOK_SECONDS))


class _Shown(Protocol):
    """Where views are drawn. ``touched``: a key was pressed since; ``quits``: it was the one to quit with."""

    touched: bool
    quits: bool

    def draw(self, view: View) -> None: ...


@contextlib.contextmanager
def _shown(console: Console, as_json: bool) -> Iterator[_Shown]:
    if as_json or not console.is_terminal:
        yield _Printed(console, as_json)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        screen = Screen(console, lambda picture: live.update(picture, refresh=True))
        with _keys(screen.press):
            yield screen


@dataclass
class _Printed:
    """One view after the other."""

    console: Console
    as_json: bool
    touched: bool = False
    quits: bool = False

    def draw(self, view: View) -> None:
        if self.as_json:
            self.console.file.write(to_json(view).decode() + "\n")
            self.console.file.flush()
        else:
            self.console.print(render(view))


class Screen:
    """The whole screen: of a picture that is larger a part, in short if it is much larger; a line that names the keys.

    Without a chosen run (``""``) all are shown."""

    def __init__(self, console: Console, update: Callable[[Any], object]) -> None:
        self.touched = self.quits = False
        self._console, self._update = console, update
        self._chosen = ""
        self._runs: list[str] = []
        self._top = self._lines = 0

    def draw(self, view: View) -> None:
        """As large as the terminal is now."""
        self.touched = False
        self._runs = [run.run for run in view.runs]
        if self._chosen not in self._runs:
            self._chosen = ""
        lines = self._fitting(_of(view, self._chosen) if self._chosen else view)
        self._lines = len(lines)
        self._top = max(0, min(self._top, self._lines - self._room))
        shown = lines[self._top : self._top + self._room]
        self._update(Segments(_joined([*shown, *[[]] * (self._room - len(shown)), [self._help()]])))

    def press(self, key: bytes) -> None:
        """What a key does is seen when the next view is drawn, which is at once."""
        self.touched = True
        page = max(1, self._room - 1)
        moves = {b"k": -1, b"j": 1, b"b": -page, b" ": page, b"g": -self._top, b"G": self._lines}
        steps = {b"\t": 1, b"n": 1, b"p": -1}
        if key == b"q":
            self.quits = True
        elif key in moves:
            self._top = max(0, self._top + moves[key])
        elif key in steps:
            choices = ["", *self._runs]
            self._chosen = choices[(choices.index(self._chosen) + steps[key]) % len(choices)]
            self._top = 0

    @property
    def _room(self) -> int:
        return max(1, self._console.height - 1)

    def _fitting(self, view: View) -> list[list[Segment]]:
        lines = self._lines_of(render(view))
        if len(lines) > self._room:
            spare = self._room - len(self._lines_of(render_short(view)))
            workers = max(1, WORKERS_IN_SHORT + spare)
            spare = self._room - len(lines := self._lines_of(render_short(view, workers)))
            if spare > 1:
                lines = self._lines_of(render_short(view, workers, NEWS_IN_SHORT + spare // 2))
        return lines

    def _lines_of(self, picture: RenderableType) -> list[list[Segment]]:
        return self._console.render_lines(picture, self._console.options.reset_height(), pad=False)

    def _help(self) -> Segment:
        keys = ["q quit"]
        if len(self._runs) > 1:
            which = f"{self._runs.index(self._chosen) + 1} of" if self._chosen else "all"
            keys.append(f"Tab run ({which} {len(self._runs)})")
        if self._lines > self._room:
            last = min(self._lines, self._top + self._room)
            keys.append(f"↑ ↓ PgUp PgDn lines {self._top + 1}–{last} of {self._lines}")
        return Segment("  ".join(keys)[: self._console.width], self._console.get_style("dim"))


def _of(view: View, run: str) -> View:
    """What of it is about one run."""
    return msgspec.structs.replace(
        view,
        runs=[each for each in view.runs if each.run == run],
        causes=[cause for cause in view.causes if cause.run == run],
    )


def _joined(lines: list[list[Segment]]) -> Iterator[Segment]:
    for number, line in enumerate(lines):
        yield from [Segment.line(), *line] if number else line


NAMES = {
    b"[A": b"k",
    b"[B": b"j",
    b"[C": b"n",
    b"[D": b"p",
    b"[5~": b"b",
    b"[6~": b" ",
    b"[H": b"g",
    b"[F": b"G",
    b"[1~": b"g",
    b"[4~": b"G",
    b"[Z": b"p",
}
"""Keys that send several characters, and the letters that do the same."""


@contextlib.contextmanager
def _keys(press: Callable[[bytes], None]) -> Iterator[None]:
    """While open, ``press`` is told of each key, at once and without an echo, if this terminal is ours to read."""
    descriptor = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    if descriptor is None or _is_in_background(descriptor):
        yield
        return
    loop, before = asyncio.get_running_loop(), termios.tcgetattr(descriptor)

    def read() -> None:
        typed = os.read(descriptor, 64)
        if not typed:
            loop.remove_reader(descriptor)
        for key in ONE_KEY.findall(typed):
            press(NAMES.get(key[1:].replace(b"O", b"["), key) if key[:1] == b"\x1b" else key)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _is_in_background(descriptor: int) -> bool:
    """Whether the shell would stop us if we wanted the terminal; one that is not ours has no background."""
    try:
        return os.tcgetpgrp(descriptor) != os.getpgrp()
    except OSError:
        return False
