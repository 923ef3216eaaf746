"""How long a coordinator's event loop stands still while tasks carry rows: ``python -m benchmarks.stalls [--rows N]
[--broker URL]``.

A CSV of N rows of eight floats is run by two local workers; beside it, in the same event loop, something wakes every
5 ms and notes how late it was. While a loop stands still no lease is renewed and no result is read. Prints when the run
was started, how long it took from there, the longest stalls, and the peak of the coordinator's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from ttg.function import function_from_text
from ttg.options import DEFAULTS
from ttg.run.launch import Hooks, Running, execute
from ttg.run.request import RunRequest, new_request
from ttg.settings import read_settings
from ttg.space import from_file

NAMES = "abcdefgh"
BEAT_SECONDS = 0.005


class Beat:
    """Wakes all the time. ``stalls``: by how much too late, in seconds."""

    def __init__(self) -> None:
        self.stalls: list[float] = []
        self.began = 0.0

    def start(self, _running: Running) -> None:
        """The run has begun."""
        self.began = time.perf_counter()
        self._task = asyncio.get_running_loop().create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(BEAT_SECONDS)
            self.stalls.append(time.perf_counter() - before - BEAT_SECONDS)


class Silent:
    """A reporter that shows nothing."""

    def __call__(self, progress: Any) -> None: ...

    def close(self) -> None: ...


def write_inputs(folder: Path, count: int) -> None:
    """The table and the function."""
    (folder / "rows.py").write_text(f"def total({', '.join(NAMES)}):\n    return {' + '.join(NAMES)}\n")
    draw = random.Random(1).random
    with (folder / "rows.csv").open("w") as file:
        file.write(",".join(NAMES) + "\n")
        file.writelines(",".join(repr(100 * draw()) for _ in NAMES) + "\n" for _ in range(count))


def request_for(broker: str | None) -> RunRequest:
    """A run over the table in the present folder."""
    space = from_file("rows.csv")
    chosen = DEFAULTS.but(broker=broker, workers=2, namespace=f"stalls-{os.getpid()}", out=Path("run"))
    return new_request(function_from_text("rows.py:total", space.names), space, read_settings(), chosen)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--broker", help="default: the embedded server")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_inputs(Path(folder), args.rows)
        opened, beat = time.perf_counter(), Beat()
        finished = asyncio.run(execute(request_for(args.broker), Silent(), Hooks(on_start=beat.start)))
        ended = time.perf_counter()
        worst = ", ".join(f"{1000 * stall:.0f}" for stall in sorted(beat.stalls, reverse=True)[:5])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"{finished.status}: began after {beat.began - opened:.1f} s, took {ended - beat.began:.1f} s from there")
        print(f"longest stalls: {worst} ms; peak {peak} MiB")
        os.chdir("/")


if __name__ == "__main__":
    main()
