"""Whole runs as processes: start `ttg run`, find its processes, break them, and apply the oracle.

The oracle: the indices in the table and in the dead letters are together all indices, none twice, and every value is
what a direct computation gives.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.dataset as ds

from waiting import until

PATIENCE_SECONDS = 60.0

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str) -> T:
    """What ``condition`` gives, as soon as that is true."""
    try:
        return until(condition, within_seconds=PATIENCE_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None


def children_of(pid: int) -> list[int]:
    """Direct children of a process that runs, whichever of its threads started them."""
    try:
        texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        return [int(child) for text in texts for child in text.split()]
    except FileNotFoundError:
        return []


def command_of(pid: int) -> str:
    """The command line of a process, or an empty text when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descendants_of(pid: int) -> list[int]:
    """A process's children, their children, and so on."""
    return [below for child in children_of(pid) for below in (child, *descendants_of(child))]


def is_running(pid: int) -> bool:
    """Whether ``pid`` exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class TtgRun:
    """One `ttg` process of a test, with its own registry; everything it starts must be gone when it is."""

    folder: Path
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    inside: tuple[str, ...] = ()
    """What runs the command somewhere else; see :meth:`network.Network.inside`."""
    process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> TtgRun:
        """Start ``ttg <arguments>`` in a session of its own."""
        log = (self.home / "coordinator.log").open("ab")
        self.process = subprocess.Popen(
            [*self.inside, sys.executable, "-m", "ttg", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "TTG_HOME": str(self.home), **self.environment},
            start_new_session=True,
        )
        log.close()
        return self

    @property
    def pid(self) -> int:
        """The coordinator."""
        assert self.process is not None
        return self.process.pid

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code; what it said when it does not end."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.said()}") from None

    def said(self) -> str:
        """Everything the command printed."""
        return (self.home / "coordinator.log").read_text(errors="replace")

    def workers(self) -> list[int]:
        """Pids of the local workers."""
        return [pid for pid in children_of(self.pid) if "ttg worker" in command_of(pid)]

    def slots(self) -> list[int]:
        """Pids of the workers' child processes."""
        return [child for worker in self.workers() for child in children_of(worker)]

    def info(self) -> dict[str, Any]:
        """The contents of run.json."""
        info: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return info

    def kill(self) -> None:
        """SIGKILL to the coordinator alone."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()


def settled_on_disk(folder: Path) -> Iterator[tuple[int, Any]]:
    """``(index, result)`` of each row of the table."""
    table = ds.dataset(folder / "results", format="parquet").to_table(columns=["index", "result"])
    yield from zip(table["index"].to_pylist(), table["result"].to_pylist(), strict=True)


def dead_on_disk(folder: Path) -> list[dict[str, Any]]:
    """The dead letters."""
    if not any((folder / "dead").glob("*.parquet")):
        return []
    letters: list[dict[str, Any]] = ds.dataset(folder / "dead", format="parquet").to_table().to_pylist()
    return letters


def apply_oracle(folder: Path, size: int, expected: Callable[[int], Any], dead: set[int] | None = None) -> None:
    """Fail unless every index is settled exactly once, with the right value; ``dead``: exactly those are dead."""
    rows = list(settled_on_disk(folder))
    letters = [letter["index"] for letter in dead_on_disk(folder)]
    indices = sorted([index for index, _ in rows] + letters)
    twice = {index for before, index in itertools.pairwise(indices) if before == index}
    missing = set(range(size)) - set(indices)
    wrong = [(index, value, expected(index)) for index, value in rows if value != expected(index)]
    assert not twice, f"counted twice: {sorted(twice)[:10]}"
    assert not missing, f"lost: {sorted(missing)[:10]} and more, {len(missing)} in all"
    assert not wrong, f"wrong values: {wrong[:5]}"
    assert len(indices) == size
    if dead is not None:
        assert set(letters) == dead
