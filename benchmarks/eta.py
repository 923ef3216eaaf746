"""How right the time left is: ``python -m benchmarks.eta [--calls SECONDS …] [--failing SHARE …]``.

Runs whole sweeps of calls that sleep (each up to a fifth shorter or longer) and notes what the progress says. When a
run is over it is known what was left at each moment. Printed are the median and the worst error over the second half
of each run, in percent of what was left then; what was left counts as a tenth of the run at least, since nobody minds
that "2 s" were 3.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import ttg
from ttg.run.progress import Progress

WORKERS = {0.01: 2, 1.0: 4, 25.0: 8}
CALLS_PER_WORKER = {0.01: 9_000, 1.0: 120, 25.0: 12}
LEAST_SHARE = 0.1

Said = list[tuple[float, float | None]]


def call(i: int, seconds: float, failing: float, folder: str) -> int:
    """Sleeps; a share of the calls, drawn by the index, fails the first time."""
    time.sleep(seconds * (0.8 + 0.4 * _drawn(i, 1)))
    if _drawn(i, 2) < failing:
        mark = Path(folder, str(i))
        if not mark.exists():
            mark.touch()
            raise ValueError("not the first time")
    return i


def _drawn(i: int, salt: int) -> float:
    """Between 0 and 1, the same each time."""
    return ((i * 2_654_435_761 + salt * 40_503) * 2_246_822_519 >> 7) % 10_007 / 10_007


def errors(said: Said, began: float, ended: float) -> list[float]:
    """Of each time that was said in the second half: how wrong it was, as a share of what was left."""
    half, least = (began + ended) / 2, LEAST_SHARE * (ended - began)
    later = [(ended - at, left) for at, left in said if at >= half and at < ended]
    return [1.0 if left is None else abs(left - true) / max(true, least) for true, left in later]


def measured(seconds: float, failing: float) -> list[float]:
    """The errors of one run."""
    said: Said = []

    def note(progress: Progress) -> None:
        said.append((time.monotonic(), progress.eta_seconds))

    with tempfile.TemporaryDirectory() as folder:
        size = WORKERS[seconds] * CALLS_PER_WORKER[seconds]
        space = {"i": range(size), "seconds": [seconds], "failing": [failing], "folder": [folder]}
        began = time.monotonic()
        ttg.run(call, space, workers=WORKERS[seconds], out=Path(folder, "run"), progress=note)
        return errors(said, began, said[-1][0])


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=float, nargs="*", default=list(WORKERS), choices=list(WORKERS))
    parser.add_argument("--failing", type=float, nargs="*", default=[0.0, 0.05])
    args = parser.parse_args()
    for seconds in args.calls:
        for failing in args.failing:
            found = measured(seconds, failing)
            median, worst = 100 * statistics.median(found), 100 * max(found)
            print(
                f"calls of {seconds:5g} s, {failing:.0%} fail once: median error {median:3.0f} %, worst {worst:3.0f} %"
                f" ({len(found)} looks)",
                flush=True,
            )


if __name__ == "__main__":
    main()
