"""Workers over time: every settled task is a bar; too many bars become shades, worked out here, not in the browser.

Two stores, both bounded: the newest bars exactly, and for the whole time a grid of busy seconds and failures. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ttg.messages import TaskSettled
from ttg.monitor.series import Row, Strips
from ttg.monitor.view import FaultView, ViewPart
from ttg.monitor.workers import natural

BARS_KEPT = 6_000
BARS_SHOWN = 3_000
GRID_COLUMNS = 512
GRID_BUCKET_SECONDS = 0.1
LANES_SHOWN = 64
LANES_SAVED = 256
MARKED = frozenset({"worker_lost", "child_died", "broker_trouble", "fault_injected"})

Lane = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Bar:
    """One settled task. ``taken_over``: it had been leased to somebody else before."""

    worker: str
    task: TaskSettled

    @property
    def lane(self) -> Lane:
        return self.worker, self.task.slot

    @property
    def ended(self) -> float:
        return self.task.started + self.task.seconds

    @property
    def mark(self) -> int:
        """How to draw it: 0 fine, 1 retried something, 2 gave something up, +4 taken over from another worker."""
        trouble = 2 if self.task.dead else 1 if self.task.failed else 0
        return trouble + (4 if self.task.deliveries > 1 else 0)


class LaneView(ViewPart, frozen=True):
    """One row of the picture: a slot, or a band of ``count`` neighbouring slots from ``worker`` to ``last``."""

    worker: str
    slot: int
    last: str
    count: int


class MarkView(ViewPart, frozen=True):
    """A fault to draw: from when its worker was last heard of (``began``) until it was dealt with (``at``)."""

    lane: int
    began: float
    at: float
    kind: str
    text: str


class TimelineView(ViewPart, frozen=True):
    """``bars``: ``(lane, began, seconds, done, failed, dead, mark, task)`` one by one, when they are few. Otherwise
    ``busy`` and ``trouble``: per lane and bucket of ``bucket_seconds``, percent of time busy and number of failures.
    ``present``: which lanes are busy now, and since when."""

    began: float
    ended: float
    lanes: list[LaneView]
    lanes_hidden: int
    bucket_seconds: float
    bars: list[tuple[int, float, float, int, int, int, int, str]]
    busy: list[list[int]]
    trouble: list[list[int]]
    marks: list[MarkView]
    present: Sequence[tuple[int, float]] = ()


class SavedTimeline(ViewPart, frozen=True):
    """A timeline as it is kept: ``bars`` as ``(lane, started, seconds, done, failed, dead, attempt, deliveries,
    task)``; ``busy`` (milliseconds) and ``failed`` per lane and bucket only if older bars are gone."""

    began: float | None
    ended: float
    bucket_seconds: float
    dropped_until: float
    lanes: list[Lane]
    bars: list[tuple[int, float, float, int, int, int, int, int, str]]
    busy: list[list[int]]
    failed: list[list[int]]


@dataclass(slots=True)
class Timeline:
    """Bars of the current activity (:meth:`restart` begins a new one)."""

    newest: deque[Bar] = field(default_factory=lambda: deque(maxlen=BARS_KEPT))
    grid: Strips[Lane] = field(default_factory=lambda: Strips(2, GRID_COLUMNS, GRID_BUCKET_SECONDS))
    dropped_until: float = 0.0

    def restart(self, began: float) -> None:
        """A new activity begins; what was before is forgotten."""
        self.newest.clear()
        self.grid.restart(began)
        self.dropped_until = 0.0

    def on_settled(self, worker: str, tasks: Iterable[TaskSettled]) -> None:
        """Add one bar per task."""
        for task in tasks:
            bar = Bar(worker, task)
            if len(self.newest) == BARS_KEPT:
                self.dropped_until = max(self.dropped_until, self.newest[0].ended)
            self.newest.append(bar)
            self.grid.add(bar.lane, task.started, bar.ended, (task.seconds, 0.0))
            if task.failed or task.dead:
                self.grid.add(bar.lane, bar.ended, bar.ended, (0.0, task.failed + task.dead))

    def saved(self) -> SavedTimeline:
        """What is to be kept: the newest bars, and the grid of so many lanes if some are not among them."""
        bars = list(self.newest)[-BARS_SHOWN:]
        gone = self.newest[len(self.newest) - len(bars) - 1].ended if len(bars) < len(self.newest) else 0.0
        dropped_until = max(self.dropped_until, gone)
        kept = sorted(self.grid.rows, key=lambda lane: (natural(lane[0]), lane[1]))[:LANES_SAVED]
        place = {lane: number for number, lane in enumerate(kept)}
        rows = [self.grid.rows[lane][:, : self.grid.used] for lane in kept] if dropped_until else []
        return SavedTimeline(
            began=self.grid.began,
            ended=self.grid.ended,
            bucket_seconds=self.grid.bucket_seconds,
            dropped_until=dropped_until,
            lanes=kept,
            bars=[_kept(bar, place[bar.lane]) for bar in bars if bar.lane in place],
            busy=[_rounded(1000 * row[0]) for row in rows],
            failed=[_rounded(row[1]) for row in rows],
        )

    @classmethod
    def restored(cls, saved: SavedTimeline, run: str) -> Timeline:
        """The timeline that was :meth:`saved` of ``run``."""
        timeline = cls(dropped_until=saved.dropped_until)
        timeline.grid.restart(saved.began)
        for lane, started, seconds, done, failed, dead, attempt, deliveries, task in saved.bars:
            worker, slot = saved.lanes[lane]
            told = TaskSettled(run, task, slot, started, seconds, done, failed, dead, attempt, deliveries)
            timeline.on_settled(worker, [told])
        if saved.busy:
            seconds_busy = ([milliseconds / 1000 for milliseconds in row] for row in saved.busy)
            layers = zip(seconds_busy, saved.failed, strict=True)
            timeline.grid.restore(saved.ended, saved.bucket_seconds, dict(zip(saved.lanes, layers, strict=True)))
        return timeline

    def view(
        self,
        now: float,
        faults: list[FaultView],
        last_seconds: float | None = None,
        match: str = "",
        lanes_shown: int = LANES_SHOWN,
        busy_since: Mapping[Lane, float] = {},
    ) -> TimelineView:
        """The last ``last_seconds`` (``None``: all) of the workers whose name contains ``match``; ``busy_since`` says
        of slots since when they are at something that is not settled."""
        start = self.grid.began if self.grid.began is not None else now
        # Some began before the first that was heard of, or clocks differ.
        earliest = min((bar.task.started for bar in self.newest), default=start)
        began = max(start, now - last_seconds) if last_seconds else min(start, earliest)
        ended = max(now, began + 1.0) if last_seconds else max(self.grid.ended, began + 1.0)
        lanes = sorted(
            (lane for lane in self.grid.rows if match in lane[0]), key=lambda lane: (natural(lane[0]), lane[1])
        )
        bands = _bands(lanes, lanes_shown)
        row_of = {lane: row for row, band in enumerate(bands) for lane in band}
        bars = [bar for bar in self.newest if bar.ended >= began and bar.lane in row_of]
        exact = self.dropped_until <= began and len(bars) <= BARS_SHOWN and len(bands) == len(lanes)
        busy, trouble = ([], []) if exact else self._shades(bands, began)
        return TimelineView(
            began=began,
            ended=ended,
            lanes=[LaneView(band[0][0], band[0][1], band[-1][0], len(band)) for band in bands],
            lanes_hidden=len(self.grid.rows) - len(lanes),
            bucket_seconds=self.grid.bucket_seconds,
            bars=[_plain(bar, row_of[bar.lane]) for bar in bars] if exact else [],
            busy=busy,
            trouble=trouble,
            marks=_marks(faults, row_of, began),
            present=[(row_of[lane], since) for lane, since in busy_since.items() if lane in row_of] if exact else [],
        )

    def _shades(self, bands: list[list[Lane]], began: float) -> tuple[list[list[int]], list[list[int]]]:
        """Percent busy and failures per band and bucket from the bucket of ``began`` on."""
        first = int((began - (self.grid.began or 0.0)) / self.grid.bucket_seconds)
        window = slice(first, self.grid.used)
        sums = [np.sum([self.grid.rows[lane][:, window] for lane in band], axis=0) for band in bands]
        room = [len(band) * self.grid.bucket_seconds for band in bands]
        busy = [_rounded(np.minimum(100, 100 * total[0] / full)) for total, full in zip(sums, room, strict=True)]
        return busy, [_rounded(total[1]) for total in sums]


def _rounded(row: Row) -> list[int]:
    numbers: list[int] = np.rint(row).astype(int).tolist()
    return numbers


def _bands(lanes: list[Lane], shown: int) -> list[list[Lane]]:
    """``lanes`` cut into at most ``shown`` bands of equal height."""
    height = -(-len(lanes) // shown) or 1
    return [lanes[start : start + height] for start in range(0, len(lanes), height)]


def _plain(bar: Bar, row: int) -> tuple[int, float, float, int, int, int, int, str]:
    task = bar.task
    return row, round(task.started, 3), round(task.seconds, 3), task.done, task.failed, task.dead, bar.mark, task.task


def _kept(bar: Bar, lane: int) -> tuple[int, float, float, int, int, int, int, int, str]:
    task = bar.task
    times = round(task.started, 3), round(task.seconds, 3)
    return lane, *times, task.done, task.failed, task.dead, task.attempt, task.deliveries, task.task


def _marks(faults: list[FaultView], row_of: dict[Lane, int], began: float) -> list[MarkView]:
    """Faults since ``began`` in every lane of their worker; lane -1: they concern everybody."""
    marks: list[MarkView] = []
    for fault in faults:
        if fault.at < began or fault.kind not in MARKED:
            continue
        rows = {row for (worker, _), row in row_of.items() if worker == fault.worker}
        span = (max(began, fault.at - fault.lasted_seconds), fault.at)
        marks.extend(MarkView(row, *span, fault.kind, fault.text) for row in sorted(rows) or [-1])
    return marks
