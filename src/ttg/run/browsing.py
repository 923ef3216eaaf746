"""Finished and unfinished runs of this machine, as the dashboard wants to browse them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from msgspec.structs import replace

from ttg.errors import InputError
from ttg.monitor.history import RunHistory
from ttg.monitor.web.source import Column, FailedParameter, FailureView, LogTail, Page, Retrial, RunOnDisk
from ttg.monitor.workers import natural
from ttg.results import reading
from ttg.results.dataset import part_paths
from ttg.results.folder import RunFolder, list_runs
from ttg.results.rows import space_of
from ttg.run.kept_history import read_history
from ttg.run.report import counts
from ttg.run.run_on_disk import on_disk
from ttg.streams import printable

ABOUT = ("index", "seconds", "attempt", "worker")
NUMBERS = ("int", "uint", "float", "double", "halffloat", "bool")
LETTERS_SHOWN = 50
PACES_SHOWN = 100
LONGEST_PARAMETERS = 2_000
LOGS_SHOWN, LOG_BYTES = 16, 8 << 10


class Browser:
    """A :class:`~ttg.monitor.web.source.RunsSource` over the runs registered under ``home``, and ``opened``, which may
    lie elsewhere.

    ``retry`` submits dead letters of a run again and says how many; ``control`` is a command for a run, given by its
    folder or its id.
    """

    def __init__(
        self,
        home: Path,
        retry: Callable[[str, Retrial], int] | None = None,
        opened: RunFolder | None = None,
        control: Callable[..., str] | None = None,
    ) -> None:
        self._home = home
        self._retry = retry
        self._opened = opened
        self._control = control

    # -- runs

    def runs(self) -> list[RunOnDisk]:
        """The newest first."""
        folders = {folder.path: folder for folder in (*list_runs(self._home), *filter(None, (self._opened,)))}
        ordered = sorted(folders.values(), key=lambda folder: -folder.info.created)
        return [replace(on_disk(folder), pace=self._pace(folder, place)) for place, folder in enumerate(ordered)]

    def run(self, run: str) -> RunOnDisk | None:
        """As its folder tells now."""
        folder = self._known(run)
        return on_disk(folder) if folder is not None else None

    def history(self, run: str) -> RunHistory | None:
        """Read again when the file has changed."""
        folder = self._known(run)
        if folder is None or not folder.history.exists():
            return None
        return _history(folder.history, run, folder.history.stat().st_mtime_ns)

    def failures(self, run: str) -> list[FailureView]:
        """From the dead letters on disk, those of earlier sittings included."""
        folder = self._known(run)
        if folder is None or not (dead := part_paths(folder.dead)):
            return []
        return list(_failures(folder.path, dead[-1].name, len(part_paths(folder.results))))

    # -- tables

    def columns(self, run: str) -> list[Column]:
        """Parameters and results as the specification tells them apart."""
        folder = self._folder(run)
        schema, _ = reading.read(folder, limit=0)
        return [Column(field.name, _role(field.name, folder), _kind(str(field.type))) for field in schema]

    def page(self, run: str, *, offset: int, limit: int, sort: str, descending: bool) -> Page:
        """Only the column to sort by is read in full."""
        folder, columns = self._folder(run), self.columns(run)
        if not columns:
            return Page([], [], 0)
        total = reading.select(folder).rows
        order = None if sort == "index" and not descending else f"{'-' if descending else ''}{sort}"
        shown = max(0, min(limit, total - offset))
        chosen = reading.select(folder, limit=offset + limit, tail=shown, sort=order)
        return Page(columns, [[*map(_shown, row.values())] for row in chosen.gathered().to_pylist()], total)

    def sample(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        """Every row with the same chance, window by window, so that memory stays bounded."""
        folder = self._folder(run)
        share = min(1.0, limit / max(1, counts(folder)[0]))
        chance = np.random.default_rng(0)
        found: dict[str, list[Any]] = {name: [] for name in names}
        _, windows = reading.read(folder, list(names))
        for window in windows:
            chosen = window if share == 1.0 else window.filter(chance.random(window.num_rows) < share)
            for name in names:
                found[name].extend(chosen[name].to_pylist())
        return found

    def space(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        """Drawn at random if it is larger, always the same, with both ends."""
        size = self._folder(run).spec.size
        indices = np.arange(size) if size <= limit else np.random.default_rng(0).integers(0, size, limit)
        return self._parameters(run, names, np.union1d(indices, (0, size - 1)) if size else indices)

    def dead(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        """The first of them."""
        indices = [index for cause in reading.causes(self._folder(run)) for index in cause.indices][:limit]
        return self._parameters(run, names, np.array(indices, dtype=np.int64)) if indices else {}

    def export(self, run: str, format: str, file: BinaryIO) -> None:
        """In bounded memory."""
        reading.export(self._folder(run), format, file)

    def logs(self, run: str) -> list[LogTail]:
        """Of the workers that were started with the run."""
        folder = self._known(run)
        paths = sorted(folder.logs.glob("worker-*.log"), key=lambda path: natural(path.name)) if folder else []
        return [LogTail(path.stem, _last_lines(path)) for path in paths[:LOGS_SHOWN]]

    def control(self, verb: str, run: str, worker: str = "") -> str:
        """By a command of its own."""
        if self._control is None:
            raise InputError(f"this is not possible from here: use `ttg {verb} {run}`")
        folder = self._known(run)
        return self._control(verb, str(folder.path) if folder else run, *filter(None, (worker,)))

    def retry(self, run: str, which: Retrial) -> int:
        """As told at the beginning."""
        if self._retry is None:
            raise InputError(f"retrying from here is not possible: use `ttg retry {run}`")
        return self._retry(run, which)

    # -- inside

    def _pace(self, folder: RunFolder, place: int) -> Sequence[int]:
        """Of the newest ones: a list of a thousand runs must not wait for as many files."""
        if place >= PACES_SHOWN or not folder.history.exists():
            return ()
        return _pace_of(folder.history, folder.spec.run, folder.history.stat().st_mtime_ns)

    def _parameters(self, run: str, names: Sequence[str], indices: Any) -> dict[str, list[Any]]:
        arrays = space_of(self._folder(run)).arrays(np.asarray(indices, dtype=np.int64))
        return {name: arrays[name].tolist() for name in names}

    def _known(self, run: str) -> RunFolder | None:
        return next(self._called(run), None)

    def _called(self, run: str) -> Iterator[RunFolder]:
        """By its very id: what is in an address of the page must not name a path."""
        if self._opened is not None and self._opened.spec.run == run:
            yield RunFolder.open(self._opened.path)
        yield from (folder for folder in list_runs(self._home, run) if folder.spec.run == run)

    def _folder(self, run: str) -> RunFolder:
        folder = self._known(run)
        if folder is None:
            raise InputError(f"run {run} has no folder on this machine: its table is where it was started")
        return folder


@lru_cache(maxsize=4)
def _failures(path: Path, last_dead: str, parts: int) -> tuple[FailureView, ...]:
    """Read again when there are other parts."""
    return tuple(_failure(story) for story in reading.stories(RunFolder.open(path), LETTERS_SHOWN))


@lru_cache(maxsize=4)
def _history(path: Path, run: str, changed: int) -> RunHistory | None:
    return read_history(path, run)


@lru_cache(maxsize=4 * PACES_SHOWN)
def _pace_of(path: Path, run: str, changed: int) -> Sequence[int]:
    history = read_history(path, run)
    return tuple(history.pace()) if history else ()


def _failure(story: reading.Story) -> FailureView:
    return FailureView(
        kind=story.sample["kind"],
        error=story.error,
        place=story.place,
        dead=len(story.dead),
        mended=len(story.mended),
        attempts=story.attempts,
        first=story.first,
        last=story.last,
        **story.example,
        rows=[_failed_parameter(letter) for letter in sorted(story.letters, key=lambda letter: letter["index"])],
    )


def _failed_parameter(letter: dict[str, Any]) -> FailedParameter:
    last_line = (letter["output"] or "").rstrip().rpartition("\n")[2]
    values = json.dumps(letter["parameters"], ensure_ascii=False)[:LONGEST_PARAMETERS]
    return FailedParameter(letter["index"], values, letter["attempts"], letter["worker"] or "", printable(last_line))


def _last_lines(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_BYTES))
        text = file.read().decode(errors="replace")
    return text if size <= LOG_BYTES else text.partition("\n")[2]


def _shown(cell: Any) -> Any:
    """JSON has no word for numbers that are none, and ``null`` would say that there is no value."""
    return str(cell) if isinstance(cell, float) and not math.isfinite(cell) else cell


def _role(name: str, folder: RunFolder) -> str:
    if name in folder.spec.names:
        return "parameter"
    return "about" if name in ABOUT else "result"


def _kind(kind: str) -> str:
    """As :class:`Column` tells them apart, of the name of Arrow's type."""
    of_list = kind.startswith(("list<", "large_list<", "fixed_size_list<"))
    element = kind.partition(": ")[2] if of_list else kind
    if element.startswith(NUMBERS):
        return "curve" if of_list else "number"
    return "text" if kind.startswith(("string", "large_string", "dictionary<values=string")) else ""
