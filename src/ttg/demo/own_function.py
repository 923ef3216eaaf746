"""The demonstration with a function of the user's: what it computes, and how its results are verified."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from ttg.demo.measure import DataCheck, check_rows
from ttg.messages import Task
from ttg.messages.rows import NO_ROWS, packed
from ttg.results import reading
from ttg.results.folder import RunFolder
from ttg.space import Space
from ttg.spec import FunctionRef
from ttg.worker.loading import Loaded, load_run

CHECK_SECONDS = 10.0
MOST_CHECKED = 2_000


@dataclass(frozen=True, slots=True)
class OwnFunction:
    """A function and the space it runs over."""

    function: FunctionRef
    space: Space


def check_own(folder: Path) -> DataCheck:
    """Every index is there once; as many rows as fit into :data:`CHECK_SECONDS`, drawn at random, have the value that
    the function gives when it is called directly, in this process."""
    run = RunFolder.open(folder)
    _, tables = reading.read(run, columns=["index"])
    indices = [index for table in tables for index in table["index"].to_pylist()]
    dead = [letter["index"] for letter in reading.dead_letters(run)]
    counted = check_rows(run.info.size, ((index, None) for index in indices), dead, lambda index: None)
    drawn = random.Random(0).sample(indices, min(len(indices), MOST_CHECKED))
    rows = reading.table(run, indices=drawn).to_pylist()
    verified, wrong = _verify(load_run(run.spec, None, find_input=run.input), rows)
    return DataCheck(
        counted.size, counted.present, counted.dead, counted.duplicates, counted.missing, wrong, verified=verified
    )


def _verify(loaded: Loaded, rows: list[dict[str, Any]]) -> tuple[int, int]:
    deadline = time.monotonic() + CHECK_SECONDS
    wrong = verified = 0
    for row in rows:
        if time.monotonic() > deadline:
            break
        verified += 1
        wrong += not _agrees(row, _direct(loaded, row["index"]))
    return verified, wrong


def _direct(loaded: Loaded, index: int) -> Any:
    rows = NO_ROWS if loaded.space.computable else packed(loaded.space.encoded_columns(index, index + 1))
    task = Task(run=loaded.spec.run, id="check", ranges=((index, index + 1),), rows=rows)
    return loaded.function(*(column[0] for column in loaded.columns_of(task, index, index + 1)))


def _agrees(row: Mapping[str, Any], value: Any) -> bool:
    return all(_same(row.get(name, row.get(f"result_{name}")), part) for name, part in _columns(value).items())


def _columns(value: Any) -> dict[str, Any]:
    """The result as columns of the table: the fields of a mapping, dataclass or named tuple, else ``result``."""
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "_asdict"):
        return dict(value._asdict())
    return {"result": value}


def _same(stored: Any, computed: Any) -> bool:
    if hasattr(computed, "tolist"):
        computed = computed.tolist()
    both_nan = stored != stored and computed != computed
    return bool(both_nan or stored == (list(computed) if isinstance(computed, tuple) else computed))
