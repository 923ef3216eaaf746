"""How fast a run is, and when it will end: an estimate for people, the same for every view. Pure: no clock is read.

What is settled has cost slot time: all that the slots had, less what they have spent on what they hold still. Between
two moments that is exact, however long a call takes, so a parameter's cost is known as soon as one is settled, and a
worker that joins or leaves changes the estimate at once. What is left is then cut into pieces as the latest were and
dealt to the slots; what failed comes back after the retry delay, as often as experience says.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from itertools import islice
from math import ceil, log, sqrt
from random import Random
from typing import Any

import msgspec

SHORT_SECONDS = 10.0
LONG_SECONDS = 300.0
WINDOW_PIECES = 8
"""A slot's window is as long as so many pieces of work last, at least; otherwise a quarter of the run so far, within
bounds, and less at its beginning, so that the start of the workers is soon forgotten."""

MOMENTS_KEPT = 200
PIECES_KEPT = 64
ROUNDS_DEALT = 4
DRAWS = 8
MOST_DEALT = 4_000
"""So many of the last pieces of each slot are dealt one by one, so many times; of more the mean is enough."""

LATEST_PIECES = 16
UNLIKELY = 0.05
SPREAD = 1.64
"""Standard deviations to each side: nine times in ten."""

MOST_SPREAD = 0.9
OVERDUE_SHARE = 0.1
"""What lasts longer than any before may take so much of its time again."""


class Moment(msgspec.Struct, frozen=True):  # dataclasses take a millisecond each to make
    """The run when it was looked at. ``slot_seconds``: what the slots had by then; ``held_seconds``: what they had
    spent on what was not settled."""

    at: float
    slot_seconds: float
    held_seconds: float
    settled: int


class Estimate(msgspec.Struct, frozen=True):
    """``rate`` in parameters per second; seconds to the end, and between which they are nine times in ten. ``None``
    while there is nothing to tell it from."""

    rate: float = 0.0
    eta_seconds: float | None = None
    eta_least_seconds: float | None = None
    eta_most_seconds: float | None = None

    def figures(self) -> dict[str, Any]:
        """By name."""
        return msgspec.structs.asdict(self)


class Retries(msgspec.Struct):
    """Parameters that wait for their next of so many attempts, ``delay_seconds`` later, and how often attempts fail,
    from the headers of settled tasks."""

    delay_seconds: float = 0.0
    attempts: int = 1
    waiting: int = 0
    due: deque[tuple[float, int]] = msgspec.field(default_factory=deque)
    """When those that failed come back, and how many do."""
    tried: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    """Of each attempt, how often it was made and how often it failed."""

    def saw(self, attempt: int, settled: int, failed: int, now: float) -> None:
        """A task on ``attempt`` settled ``settled`` parameters for good and failed ``failed`` that will be retried."""
        tried, in_vain = self.tried.get(attempt, (0, 0))
        self.tried[attempt] = tried + settled + failed, in_vain + failed
        if attempt == 1:
            self.waiting += failed
        else:
            self.waiting = max(0, self.waiting - settled)
        if failed:
            self.due.append((now + self.delay_seconds, failed))
        self._forget_past(now)

    def start_over(self) -> None:
        """What waited is submitted again."""
        self.waiting = 0
        self.due.clear()

    def share_failing(self, attempt: int) -> float:
        """Of those that get to ``attempt``. While nothing is known of a later one it fails as the one before does; and
        the second, half of the time."""
        tried, failed = self.tried.get(attempt, (0, 0))
        if attempt == 1:
            return failed / max(1, tried)
        return (failed + (self.share_failing(attempt - 1) if attempt > 2 else 0.5)) / (tried + 1)

    def later(self, now: float) -> int:
        """How many of those that wait are not due yet."""
        self._forget_past(now)
        return min(self.waiting, sum(count for _, count in self.due))

    def note(self, now: float) -> str:
        """``waiting for 4 retries, next in 3 s``, or nothing when none is."""
        if not self.waiting:
            return ""
        self._forget_past(now)
        soon = f", next in {ceil(self.due[0][0] - now)} s" if self.due else ""
        return f"waiting for {self.waiting:,} {'retry' if self.waiting == 1 else 'retries'}{soon}"

    def _forget_past(self, now: float) -> None:
        while self.due and self.due[0][0] <= now:
            self.due.popleft()


class Pace:
    """Of a run that began at ``began`` with so much ``settled``. Told of each settled piece (:meth:`saw`), and made to
    :meth:`look` now and then. ``shrinking``: pieces get smaller towards the end, as far as they can."""

    def __init__(self, began: float, settled: int = 0, *, shrinking: bool = True) -> None:
        self._began, self._shrinking = began, shrinking
        self._now = Moment(began, 0.0, 0.0, settled)
        self._moments = deque([self._now])
        self._pieces: deque[tuple[float, int]] = deque(maxlen=PIECES_KEPT)
        self._slots = self._ready = 0
        self._held: Sequence[float] = ()

    def saw(self, finished: int, seconds: float) -> None:
        """A slot was busy with ``finished`` parameters for so long."""
        if finished:
            self._pieces.append((seconds, finished))

    def look(self, now: float, settled: int, left: int, later: int, slots: int, held: Sequence[float]) -> None:
        """Of ``left`` parameters ``later`` wait for their retry. ``slots`` slots are up, of which ``held`` have been at
        something for so many seconds. Slots that nothing is left for cost nothing."""
        before, self._slots, self._ready = self._now, slots, left - later
        self._held = held = sorted(held, reverse=True)[:left]  # who has only just settled may not have said so
        spent = before.slot_seconds + self._useful * (now - before.at)
        self._now = Moment(now, spent, sum(held), settled)
        window = self._window_seconds()
        if now - self._moments[-1].at >= window / MOMENTS_KEPT:
            self._moments.append(self._now)
        while len(self._moments) > 2 and self._moments[1].at <= now - window:
            self._moments.popleft()

    def estimate(self, retries: Retries) -> Estimate:
        """As of the last look."""
        cost = self._cost_since(self._moments[0])
        if not self._slots or not cost or not self._pieces:
            return Estimate()
        durations, size = self._durations(cost)
        waiting = max(0.0, self._ready / size - len(self._held))
        dealt = self._dealt(waiting, durations, divisible=self._shrinking and size >= 2)
        least, seconds, most = self._with_retries(dealt, retries)
        share = min(MOST_SPREAD, self._spread(cost, waiting + len(self._held)))
        spread = share * dealt + SPREAD * _deviation(durations)
        return Estimate(self._useful / cost, seconds, max(0.0, least - spread), most + spread)

    @property
    def rests(self) -> bool:
        """Nothing is worked at, nor is there anything that could be."""
        return not self._ready and not self._held

    @property
    def _useful(self) -> int:
        return min(self._slots, max(self._ready, len(self._held)))

    def _window_seconds(self) -> float:
        elapsed = self._now.at - self._began
        pieces = WINDOW_PIECES * _mean([seconds for seconds, _ in self._pieces]) if self._pieces else 0.0
        return max(pieces, min(LONG_SECONDS, max(elapsed / 4, min(SHORT_SECONDS, elapsed / 2))))

    @property
    def _call_seconds(self) -> float:
        return sum(seconds for seconds, _ in self._pieces) / sum(finished for _, finished in self._pieces)

    def _cost_since(self, first: Moment) -> float:
        """Slot seconds per settled parameter; 0.0 while that cannot be said."""
        gained = self._now.settled - first.settled
        spent = self._now.slot_seconds - first.slot_seconds - self._now.held_seconds + first.held_seconds
        return max(0.0, spent) / gained if gained > 0 else 0.0

    def _durations(self, cost: float) -> tuple[list[float], float]:
        """How long pieces of the size of the latest last, as different from each other as they were; and that size."""
        size = _mean([finished for _, finished in islice(reversed(self._pieces), LATEST_PIECES)])
        mean = self._call_seconds
        scale = size * cost / mean if mean else 0.0
        return [scale * seconds / finished for seconds, finished in self._pieces] if mean else [size * cost], size

    def _dealt(self, waiting: float, durations: list[float], *, divisible: bool) -> float:
        """Seconds until all slots are done with what they hold and with ``waiting`` more pieces."""
        slots, mean = max(self._slots, len(self._held)), _mean(durations)
        if divisible:
            rests = [_rest(spent, durations) for spent in self._held]
            return max(*rests, (sum(rests) + waiting * mean) / slots, 0.0)
        dealt = min(ceil(waiting), ROUNDS_DEALT * slots)
        count = max(1, min(DRAWS, MOST_DEALT // (dealt + slots)))
        draws = [self._drawn(Random(number), durations, slots, dealt) for number in range(count)]
        return _mean(draws) + max(0.0, waiting - dealt) * mean / slots

    def _drawn(self, draw: Random, durations: list[float], slots: int, pieces: int) -> float:
        """The same as it may happen: pieces last as long as others did."""
        ends = [_rest(spent, durations, draw) for spent in self._held] + [0.0] * (slots - len(self._held))
        heapq.heapify(ends)
        for seconds in draw.choices(durations, k=pieces):
            heapq.heapreplace(ends, ends[0] + seconds)
        return max(ends)

    def _with_retries(self, seconds: float, retries: Retries) -> tuple[float, float, float]:
        """The end when what fails comes back, which matters if it fails late: at least, as likely earlier as later, and
        at most. Failures come at random, so the last one's distance from the end is exponentially distributed."""
        call = self._call_seconds
        again = retries.delay_seconds + call
        back = retries.waiting - retries.later(self._now.at)
        failing = (self._ready - back) * retries.share_failing(1)
        late = failing * min(1.0, again / seconds) if seconds else 0.0
        end = seconds + (max(0.0, again - log(2) * seconds / failing) if failing > log(2) else 0.0)
        if retries.due:
            latest = retries.due[-1][0] - self._now.at + call
            end, seconds = max(end, latest), max(seconds, latest)
            late += retries.waiting - back if latest + again > seconds else 0
        late += back if again > seconds else 0
        most = max(end, seconds + again) if late > UNLIKELY else end
        for attempt in range(2, retries.attempts):
            late *= retries.share_failing(attempt)
            end += again if late > log(2) else 0.0
            most += again if late > UNLIKELY else 0.0
        return seconds, end, most

    def _spread(self, cost: float, pieces_left: float) -> float:
        """Of what is left, as a share: how different pieces are, and how much a parameter's cost has changed."""
        singles = [seconds / finished for seconds, finished in self._pieces]
        mean = _mean(singles)
        differing = _deviation(singles) / mean if mean else 0.0
        late = self._cost_since(self._moments[len(self._moments) // 2])
        changed = abs(late / cost - 1) if late else 0.0
        return SPREAD * differing * sqrt(1 / len(singles) + 1 / max(1, pieces_left)) + changed


def _mean(values: Sequence[float]) -> float:  # the module `statistics` takes longer to import than a run to start
    return sum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return sqrt(_mean([(value - mean) ** 2 for value in values]))


def _rest(spent: float, durations: list[float], draw: Random | None = None) -> float:
    """How much longer what has taken so long already is going to take, by what lasted longer: on average, or drawn."""
    longer = [seconds for seconds in durations if seconds > spent]
    if not longer:
        return OVERDUE_SHARE * spent
    return (draw.choice(longer) if draw else _mean(longer)) - spent
