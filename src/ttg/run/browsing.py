"""Finished and unfinished runs of this machine, as the dashboard wants to browse them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ttg.errors import InputError
from ttg.monitor.web.results import Column, Page
from ttg.results import reading
from ttg.results.folder import RunFolder, find_run

ABOUT = ("index", "seconds", "attempt", "worker")


class Browser:
    """A :class:`~ttg.monitor.web.results.ResultsSource` over the runs registered under ``home``.

    ``retry`` submits the dead letters of (run, kind, error, place) again and says how many.
    """

    def __init__(self, home: Path, retry: Callable[[str, str, str, str], int] | None = None) -> None:
        self._home = home
        self._retry = retry

    def columns(self, run: str) -> list[Column]:
        """Parameters and results as the specification tells them apart."""
        folder = self._folder(run)
        schema, _ = reading.read(folder, limit=0)
        return [Column(field.name, _role(field.name, folder), _is_number(str(field.type))) for field in schema]

    def page(self, run: str, *, offset: int, limit: int, sort: str, descending: bool) -> Page:
        """Only the column to sort by is read in full."""
        folder, columns = self._folder(run), self.columns(run)
        if not columns:
            return Page([], [], 0)
        total = reading.select(folder).rows
        order = None if sort == "index" and not descending else f"{'-' if descending else ''}{sort}"
        shown = max(0, min(limit, total - offset))
        chosen = reading.select(folder, limit=offset + limit, tail=shown, sort=order)
        return Page(columns, [list(row.values()) for row in chosen.gathered().to_pylist()], total)

    def sample(self, run: str, names: Sequence[str], limit: int) -> dict[str, list[Any]]:
        """Every row with the same chance, window by window, so that memory stays bounded."""
        folder = self._folder(run)
        share = min(1.0, limit / max(1, folder.info.done))
        chance = np.random.default_rng(0)
        found: dict[str, list[Any]] = {name: [] for name in names}
        _, windows = reading.read(folder, list(names))
        for window in windows:
            chosen = window if share == 1.0 else window.filter(chance.random(window.num_rows) < share)
            for name in names:
                found[name].extend(chosen[name].to_pylist())
        return found

    def retry(self, run: str, kind: str, error: str, place: str) -> int:
        """As told at the beginning."""
        if self._retry is None:
            raise InputError(f"retrying from here is not possible: use `ttg retry {run}`")
        return self._retry(run, kind, error, place)

    def _folder(self, run: str) -> RunFolder:
        return find_run(run, self._home)


def _role(name: str, folder: RunFolder) -> str:
    if name in folder.spec.names:
        return "parameter"
    return "about" if name in ABOUT else "result"


def _is_number(kind: str) -> bool:
    return kind.startswith(("int", "uint", "float", "double", "halffloat", "bool"))
