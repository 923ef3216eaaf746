"""``ttg plan``: run a small sample for real, and say what the whole would take."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ttg.errors import RunStopped
from ttg.monitor.words import as_bytes, as_duration
from ttg.planner import Planner
from ttg.results import reading
from ttg.results.folder import RunFolder
from ttg.run.launch import Hooks, Running, execute
from ttg.run.progress import Progress
from ttg.run.reporter import Silent, human_count
from ttg.run.request import RunRequest
from ttg.space import Space, rows, space_to_json

SAMPLE_SIZE = 100
SAMPLE_SECONDS = 30.0
"""A sample of slow calls ends here, with what was done by then."""

FAST_CALL_SECONDS = 1e-4
FAST_SAMPLE_SIZE = 20_000

ROW_SECONDS = 1e-7
"""What a row costs besides the call: its place in a column, and in the table."""

START_SECONDS = 0.5
"""Server, workers and children of a local run until the first call."""

RESULT_BYTES = 24


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would take. ``seconds_low`` and ``seconds_high``: 95 % interval of the mean call time of the sample,
    taken over all parameters; a rare slow parameter that the sample missed is not in it."""

    size: int
    workers: int
    sampled: int
    failed: int
    call_seconds: float
    seconds: float
    seconds_low: float
    seconds_high: float
    chunk_size: int
    chunks: int
    child_bytes: int
    table_bytes: int
    broker_messages_per_second: float

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def __str__(self) -> str:
        fail = f", {self.failed} of them failed" if self.failed else ""
        return "\n".join(
            [
                f"{human_count(self.size)} parameters, sampled {human_count(self.sampled)}{fail}",
                f"  one call       {_span(self.call_seconds)}",
                f"  duration       {as_duration(self.seconds)} on {self.workers} workers "
                f"({as_duration(self.seconds_low)} to {as_duration(self.seconds_high)})",
                f"  chunks         about {human_count(self.chunks)} of {human_count(self.chunk_size)}",
                f"  broker load    about {human_count(self.broker_messages_per_second)} messages/s",
                f"  memory         {as_bytes(self.child_bytes)} per child process",
                f"  table          about {as_bytes(self.table_bytes)} of Parquet",
            ]
        )


async def forecast(request: RunRequest, say: Callable[[str], None] = lambda text: None) -> Forecast:
    """Run a sample of evenly spread parameters with the same function and policies (without retries), and extrapolate.
    Calls too short to be timed in a small sample get a larger one.

    Raises what a run raises, and ``RunStopped`` when not one call ends in time. Leaves nothing behind.
    """
    found = await _forecast(request, SAMPLE_SIZE, say)
    fast = found.call_seconds < FAST_CALL_SECONDS or request.spec.vectorized  # whose cost shows in large batches only
    if fast and found.sampled < found.size:
        found = await _forecast(request, FAST_SAMPLE_SIZE, say)
    return found


async def _forecast(request: RunRequest, count: int, say: Callable[[str], None]) -> Forecast:
    picked = _spread(len(request.space), count)
    say(f"running a sample of {human_count(len(picked))} parameters, for {SAMPLE_SECONDS:.0f} s at most …")
    with tempfile.TemporaryDirectory(prefix="ttg-plan-") as folder:
        out = Path(folder) / "run"
        watch = _Watch()
        await execute(_sample_request(request, picked, out), watch, Hooks(on_start=watch.begin))
        return _extrapolate(request, RunFolder.open(out), watch.child_bytes)


def _spread(size: int, count: int) -> list[int]:
    """Indices from the whole space, in random order: a sample that is cut short is spread as well."""
    count = min(size, count)
    indices = [(2 * number + 1) * size // (2 * count) for number in range(count)]
    random.Random(0).shuffle(indices)
    return indices


def _sample_request(request: RunRequest, picked: Sequence[int], out: Path) -> RunRequest:
    import msgspec

    sample: Space = rows([request.space[index] for index in picked])
    policy = msgspec.structs.replace(request.spec.retry, max_retries=0)
    spec = msgspec.structs.replace(
        request.spec, run=f"plan-{request.spec.run}", space=space_to_json(sample), size=len(sample), retry=policy
    )
    settings = replace(request.settings, home=out.parent / "home")
    return replace(request, spec=spec, space=sample, out=out, broker_url=None, settings=settings)


class _Watch(Silent):
    """Remembers the largest child that a heartbeat told of, and ends the sample when its time is over. That begins with
    the first worker, however long the machine took to start it."""

    def __init__(self) -> None:
        self.child_bytes = 0
        self._running: Running | None = None
        self._ends: asyncio.TimerHandle | None = None

    def begin(self, running: Running) -> None:
        """The run has started."""
        self._running = running

    def __call__(self, progress: Progress) -> None:
        if self._running is None:
            return
        beats = self._running.coordinator.fleet.beats.values()
        seen = (slot.memory_bytes for _, beat in beats for slot in beat.slots)
        self.child_bytes = max(self.child_bytes, *seen, 0)
        if self._ends is None and beats:
            stop = self._running.coordinator.stop
            self._ends = asyncio.get_running_loop().call_later(SAMPLE_SECONDS, stop)


def _extrapolate(request: RunRequest, folder: RunFolder, child_bytes: int) -> Forecast:
    size, slots = len(request.space), max(1, request.workers * request.slots)
    sampled = folder.info.done + folder.info.dead
    if not sampled:
        raise RunStopped(
            f"no call ended within {SAMPLE_SECONDS:.0f} s, so nothing can be predicted: time one call by itself"
        )
    seconds = [value for value in reading.table(folder, ["seconds"])["seconds"].to_pylist() if value is not None]
    mean, margin = _mean_and_margin(seconds)
    planner = Planner(size, request.options.chunk_size)
    planner.saw(max(1, len(seconds)) * 1000, max(1, len(seconds)) * 1000 * mean)
    chunk = max(1, planner.next_size(size, slots))

    def duration(call_seconds: float) -> float:
        return START_SECONDS + size * (call_seconds + ROW_SECONDS) / min(slots, size)

    return Forecast(
        size=size,
        workers=request.workers,
        sampled=sampled,
        failed=folder.info.dead,
        call_seconds=mean,
        seconds=duration(mean),
        seconds_low=duration(max(0.0, mean - margin)),
        seconds_high=duration(mean + margin),
        chunk_size=chunk,
        chunks=-(-size // chunk),
        child_bytes=child_bytes,
        table_bytes=size * _row_bytes(folder),
        broker_messages_per_second=2 * size / chunk / duration(mean),
    )


def _mean_and_margin(seconds: Sequence[float]) -> tuple[float, float]:
    """Mean, and half of the 95 % interval of the mean (normal approximation)."""
    if not seconds:
        return 0.0, 0.0
    mean = sum(seconds) / len(seconds)
    variance = sum((value - mean) ** 2 for value in seconds) / max(1, len(seconds) - 1)
    return float(mean), float(1.96 * (variance / len(seconds)) ** 0.5)


def _row_bytes(folder: RunFolder) -> int:
    """Bytes of one row in memory: Parquet rarely needs more."""
    table = reading.table(folder)
    return max(RESULT_BYTES, table.nbytes // table.num_rows) if table.num_rows else RESULT_BYTES


def _span(seconds: float) -> str:
    for limit, unit, factor in ((1e-6, "ns", 1e9), (1e-3, "µs", 1e6), (1.0, "ms", 1e3)):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return as_duration(seconds)
