"""How large the next chunk is, and how many are kept ahead of the workers. Pure: no I/O, no clock.

Three forces decide the automatic size. A chunk should last about :data:`TARGET_SECONDS`, so that the broker's and the
supervisor's work per chunk vanishes; it should be small while nothing is known of the function's speed (pilot chunks);
and it should shrink towards the end, so that no worker idles while another holds a long tail. The last rule is guided
self-scheduling (Polychronopoulos and Kuck, 1987): a chunk never holds more than a fraction of what is left per slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TARGET_SECONDS = 1.0
TAIL_SECONDS = 0.01
PILOT_SIZE = 1
PILOTS = 6
"""As long as no worker was heard of, this many are sent out: one or two for each of a few."""

PILOT_GROWTH = 4096
TAIL_FRACTION = 4.0
MAX_CHUNK = 1 << 18
"""A column of it (2 MiB) fits the caches, and copies of it on its way do not fill the memory; still, all work per chunk
together is about a hundredth of the calls."""
WINDOW_SECONDS = 4.0
MIN_WINDOW_PER_SLOT = 3
CHUNK_BYTES = 4 << 20
WINDOW_BYTES = 64 << 20
"""Where tasks carry their parameters, a chunk and what waits or runs at once are bounded by their bytes, too."""
STORE_BYTES = 4 << 30
"""What of large results may wait in the store at once, where the window decides that."""
PRIORITY_STEP = 4


@dataclass(frozen=True, slots=True)
class Speed:
    """What has been seen so far: ``call_seconds`` is the mean busy time per parameter of one slot, over ``count``."""

    call_seconds: float = 0.0
    count: int = 0

    def after(self, count: int, seconds: float) -> Speed:
        """The same when ``count`` more parameters have kept a slot busy for ``seconds``. Recent ones weigh more than
        old ones, and many more than a few."""
        if count <= 0 or seconds < 0:
            return self
        old_weight = min(self.count, 4 * count)
        mean = (self.call_seconds * old_weight + seconds) / (old_weight + count)
        return Speed(mean, self.count + count)


@dataclass
class Planner:
    """Sizes for a run of ``size`` parameters. ``chunk_size`` fixes them; ``None`` is automatic. ``parameter_bytes`` is
    what a parameter takes in a task, where tasks carry them, ``stored_bytes`` what a result takes in the store. A chunk
    should last ``target_seconds``, and
    ``tail_seconds`` at least, near the end.

    The caller feeds :meth:`saw` with each settled piece and asks :meth:`next_size` before it cuts a chunk.
    """

    size: int
    chunk_size: int | None = None
    speed: Speed = Speed()
    parameter_bytes: float = 0.0
    stored_bytes: float = 0.0
    target_seconds: float = TARGET_SECONDS
    tail_seconds: float = TAIL_SECONDS

    def saw(self, count: int, seconds: float) -> None:
        """``count`` parameters kept one slot busy for ``seconds``."""
        self.speed = self.speed.after(count, seconds)

    def next_size(self, left: int, slots: int) -> int:
        """Size of the next chunk when ``left`` parameters are not submitted yet and ``slots`` slots share them."""
        if left <= 0:
            return 0
        if self.chunk_size is not None:
            return min(left, self.chunk_size)
        if not self.speed.count:
            return PILOT_SIZE
        fair_share = int(left / (TAIL_FRACTION * max(1, slots)))
        useful = max(fair_share, self._lasting(self.tail_seconds), 1)
        return min(
            left, self._lasting(self.target_seconds), useful, PILOT_GROWTH * self.speed.count, self._in(CHUNK_BYTES)
        )

    def _lasting(self, seconds: float) -> int:
        """Parameters that keep one slot busy for ``seconds``, as far as is known."""
        if self.speed.call_seconds * MAX_CHUNK <= seconds:
            return MAX_CHUNK
        return max(1, int(seconds / self.speed.call_seconds))

    def _in(self, size: int) -> int:
        """Parameters that a task or several can carry in ``size`` bytes."""
        return max(1, int(size / self.parameter_bytes)) if self.parameter_bytes else MAX_CHUNK

    def window(self, slots: int, weight: float | None = None) -> int:
        """How many tasks may wait or run at once: enough that nobody waits for the coordinator, never O(N).

        Automatic chunks get a small window, so that later chunks profit from what earlier ones taught. Fixed chunks may
        be very short; their window covers :data:`WINDOW_SECONDS` of work. With ``weight`` (see :func:`weight_among`)
        other runs wait in the same queue: who has more tasks in it gets more of the workers.
        """
        slots = max(1, slots)
        if weight is not None:
            return max(1, int(MIN_WINDOW_PER_SLOT * slots * weight))
        if self.chunk_size is None:
            return max(MIN_WINDOW_PER_SLOT * slots, 0 if self.speed.count else PILOTS)
        seconds = self.speed.call_seconds * self.chunk_size
        wanted = int(WINDOW_SECONDS * slots / seconds) if seconds > 0 else 1000 * slots
        most = max(1000, min(wanted, 10_000))
        if self.parameter_bytes:
            most = min(most, self._in(WINDOW_BYTES) // self.chunk_size)
        if self.stored_bytes:
            most = min(most, int(STORE_BYTES / self.stored_bytes) // self.chunk_size)
        return max(MIN_WINDOW_PER_SLOT * slots, most)


def weight_among(priority: int, rivals: Sequence[int]) -> float | None:
    """The part of the usual window that a run keeps while runs of the priorities ``rivals`` share the queue.

    The queue is first in, first out, so shares of the workers are as the windows: equal for equal priorities, and a
    quarter for each step that a run is below the highest. Nobody starves. ``None``: there is nobody else.
    """
    if not rivals:
        return None
    steps = max(0, max(rivals) - priority)
    return float(PRIORITY_STEP) ** -min(steps, 30)
