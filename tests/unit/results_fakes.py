"""A run of two parameters, its folder, and the messages its workers would send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ttg.brokers.base import ResultMessage
from ttg.messages import DeadLetter, Failure, Ranges, ResultHeader, count_indices, indices_of
from ttg.results.collector import Collector
from ttg.results.dataset import open_ledger
from ttg.results.encode import encode_rows
from ttg.results.folder import RunFolder
from ttg.spec import FunctionRef, RunSpec


class Grid:
    """x = index, y = index / 2."""

    names: tuple[str, ...] = ("x", "y")
    computable = True

    def arrays(self, indices: np.ndarray[Any, Any]) -> dict[str, Any]:
        return {"x": indices, "y": indices / 2}


class FileRows(Grid):
    """The same values, which only the tasks know."""

    computable = False


def spec_of(size: int, run: str = "r1") -> RunSpec:
    return RunSpec(run=run, function=FunctionRef("module", "m", "f"), space={}, size=size, names=("x", "y"))


class Run:
    """A collector on a run folder, and messages for it."""

    def __init__(self, path: Path, size: int, space: Any = None) -> None:
        exists = (path / "run.json").exists()
        self.folder = RunFolder.open(path) if exists else RunFolder.create(path, spec_of(size))
        self.collector = Collector(self.folder, self.folder.spec, space or Grid(), open_ledger(self.folder))
        self.sent = 0

    def message(
        self,
        ranges: Ranges,
        values: Sequence[Any] | None = None,
        dead: Sequence[int] = (),
        letters: Sequence[DeadLetter] = (),
        seconds: Sequence[float] | None = None,
        worker: str = "w1",
        **header: Any,
    ) -> ResultMessage:
        """Rows of ``ranges`` (value: 10 × index) and dead letters."""
        self.sent += 1
        chosen = [10.0 * index for index in indices_of(ranges)] if values is None else list(values)
        head = ResultHeader(
            **{"run": "r1", "task": f"t{self.sent}", "attempt": 1, "worker": worker, "slot": 0, "started": 0.0}
            | {"seconds": 1.0, "call_seconds": 0.25, "ranges": ranges, "dead": (*map(letter, dead), *letters)}
            | header
        )
        carried = None
        if not self.collector._space.computable:
            carried = {"x": list(indices_of(ranges)), "y": [index / 2 for index in indices_of(ranges)]}
        payload = encode_rows(chosen, seconds, carried) if count_indices(ranges) else b""
        return ResultMessage(str(self.sent), head, payload)

    def add(self, *args: Any, **kwargs: Any) -> tuple[int, int, int]:
        added = self.collector.add(self.message(*args, **kwargs))
        return added.rows, added.dead, added.duplicates

    def flush(self) -> None:
        batch = self.collector.take()
        assert batch is not None
        self.collector.commit(self.collector.write(batch))


def letter(index: int, error: str = "ValueError", at: float = 1.0) -> DeadLetter:
    failure = Failure(index, "exception", error, f"bad {index}", place="f.py:3 (f)", traceback="Traceback …")
    parameters = {"x": index, "y": index / 2}
    return DeadLetter("r1", "m:f", index, parameters, attempts=4, failure=failure, worker="w1", at=at)
