"""Several runs beside each other: their settings, and one result of all of them over one parameter in one picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ttg.errors import InputError
from ttg.monitor.view import RunView, ViewPart
from ttg.monitor.web.columns import Table, axis_over, read_table
from ttg.monitor.web.results import SAMPLE_ROWS, Picture, Side, Trace, means
from ttg.monitor.web.runs import RunDetail, RunPages
from ttg.monitor.web.source import Column, RunsSource

MOST_RUNS = 8
OF_EACH = ("folder",)
"""Facts that are never the same in two runs, and so tell nothing."""


class Setting(ViewPart, frozen=True):
    """What one thing is in each of the runs; ``differs``: not the same in all."""

    name: str
    values: Sequence[str]
    differs: bool


class Comparison(ViewPart, frozen=True):
    """``values`` and ``axes`` are the results and parameters that all tables have, to choose from."""

    runs: Sequence[RunView]
    settings: Sequence[Setting]
    values: Sequence[str]
    axes: Sequence[str]
    picture: Picture


def compare(pages: RunPages, runs: Sequence[str], value: str = "", across: str = "") -> Comparison:
    """``InputError`` if one of the first :data:`MOST_RUNS` of ``runs`` is not known."""
    details = [pages.detail(run) for run in dict.fromkeys(runs[:MOST_RUNS])]
    if not details:
        raise InputError("expected the ids of runs to compare, got none: choose some in the list of runs")
    tables = {detail.view.run: _columns(pages.source, detail) for detail in details}
    values = _in_all(tables.values(), "result")
    axes = [*_in_all(tables.values(), "parameter"), "index"]
    value = value if value in values else next(iter(values), "")
    views = [detail.view for detail in details]
    if pages.source is None or not value:
        picture = Picture("none", "these runs have no numeric result in common")
    else:
        picture = _picture(pages.source, tables, value, across if across in axes else "")
    return Comparison(views, _settings(details), values, axes, picture)


def _columns(source: RunsSource | None, detail: RunDetail) -> list[Column]:
    return source.columns(detail.view.run) if source and detail.folder else []


def _in_all(tables: Iterable[list[Column]], role: str) -> list[str]:
    """The numeric columns of this role that every table has, in the order of the first."""
    first, *others = [_numeric(table, role) for table in tables]
    return [name for name in first if all(name in names for names in others)]


def _numeric(table: list[Column], role: str) -> list[str]:
    return [column.name for column in table if column.role == role and column.kind == "number"]


def _settings(details: Sequence[RunDetail]) -> list[Setting]:
    """What differs comes first."""
    told = [{"function": detail.view.function, **dict(detail.facts)} for detail in details]
    names = dict.fromkeys(name for facts in told for name in facts)
    rows = ((name, [facts.get(name, "") for facts in told]) for name in names)
    settings = [Setting(name, values, len(set(values)) > 1) for name, values in rows if name not in OF_EACH]
    return sorted(settings, key=lambda setting: not setting.differs)


def _picture(source: RunsSource, tables: dict[str, list[Column]], value: str, across: str) -> Picture:
    """A line for each run: the mean over everything else."""
    read = {}
    for run, columns in tables.items():
        axes = [column for column in columns if column.role == "parameter" and column.kind == "number"]
        read[run] = read_table(source, run, value, axes, SAMPLE_ROWS)
    shared = [name for name in _in_all(tables.values(), "parameter") if _varies(read.values(), name)]
    across = across or next(iter(shared), "index")
    traces = [replace(means(*table.finite(across, value)), label=run) for run, table in read.items()]
    scales = {axis_over(table.space[across]).scale for table in read.values() if across in table.space}
    side = Side(across, "log" if scales == {"log"} else "linear")
    return Picture(
        "lines", f"mean {value} over {across}", side, Side(value), value, "run", [_bare(trace) for trace in traces]
    )


def _varies(tables: Iterable[Table], name: str) -> bool:
    return any(axis_over(table.space[name]).distinct > 1 for table in tables)


def _bare(trace: Trace) -> Trace:
    return replace(trace, low=(), high=())
