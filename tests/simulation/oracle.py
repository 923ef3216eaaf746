"""One seed from beginning to end, and the question whether every parameter was counted exactly once."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from simulation.child import value
from simulation.scenario import Scenario
from simulation.virtual_time import VirtualLoop, run_virtually
from simulation.world import World

TRACE_LINES = 60
LOSSES_TOLERATED = 5
"""How many times in a row a parameter's holder has to be lost before the parameter is given up for it."""

MEMORY = Path("/dev/shm")


class Broken(AssertionError):
    """A promise was broken; the text replays it."""


def play(scenario: Scenario) -> World:
    """Simulate and judge; :class:`Broken` tells the whole story."""
    folder = Path(tempfile.mkdtemp(prefix="ttg-simulation-", dir=MEMORY if MEMORY.is_dir() else None))
    worlds: list[World] = []

    async def story(loop: VirtualLoop) -> None:
        worlds.append(World(scenario, folder / "run", loop))
        await worlds[0].run()

    try:
        run_virtually(story)
        _judge(scenario, folder / "run", worlds[0].losses)
        complaints = worlds[0].accounts.complaints()
        assert not complaints, "; ".join(complaints[:5])
    except Exception as error:
        trace = "\n".join(worlds[0].trace[-TRACE_LINES:]) if worlds else ""
        raise Broken(f"{type(error).__name__}: {error}\n{scenario}\n{trace}") from error
    finally:
        shutil.rmtree(folder)
    return worlds[0]


def _judge(scenario: Scenario, folder: Path, losses: int) -> None:
    rows = [row for path in (folder / "results").glob("*.parquet") for row in _rows(path, ["index", "i", "result"])]
    letters = dict(row for path in (folder / "dead").glob("*.parquet") for row in _rows(path, ["index", "kind"]))
    settled = Counter([index for index, _, _ in rows])
    assert max(settled.values(), default=1) == 1, f"counted twice: {[i for i, n in settled.items() if n > 1]}"
    wrong = [row for row in rows if row[1] != row[0] or row[2] != value(row[0])]
    assert not wrong, f"wrong rows: {wrong}"
    dead = set(letters) - settled.keys()
    assert settled.keys() | dead == set(range(scenario.size)), f"lost: {set(range(scenario.size)) - settled.keys()}"
    assert dead >= scenario.dead, f"dead: {sorted(dead)}, expected {sorted(scenario.dead)}"
    # An innocent may be taken for one that ends workers, but only when its holders were lost again and again.
    innocent = {index for index in dead - scenario.dead if losses < LOSSES_TOLERATED or letters[index] != "worker_lost"}
    assert not innocent, f"dead although innocent: {sorted(innocent)} after {losses} losses"


def _rows(path: Path, columns: list[str]) -> list[tuple[object, ...]]:
    table = pq.read_table(path, columns=columns, partitioning=None)
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
