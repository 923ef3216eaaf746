"""The picture in a terminal: readable at 80 columns, a pure function of the :class:`View`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from msgspec import convert
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ttg.messages import RunStatus
from ttg.monitor.view import (
    CauseView,
    FaultView,
    QueueView,
    RunView,
    ThroughputView,
    View,
    WorkerView,
    to_plain,
)
from ttg.monitor.words import as_bytes, as_count, as_duration, as_ending, as_rate, as_time_left
from ttg.streams import printable

WORKERS_SHOWN = 12
FAULTS_SHOWN = 6
CAUSES_SHOWN = 4
RUNS_SHOWN = 5
WORKERS_IN_SHORT = 5
NEWS_IN_SHORT = 2
"""Causes of failure, and faults."""

RUNS_IN_SHORT = 3
SPARKS = "▁▂▃▄▅▆▇█"

STATE_STYLES = {
    "alive": "green",
    "silent": "yellow",
    "lost": "bold red",
    "stopped": "dim",
    "active": "bold",
    "abandoned": "yellow",
    "finished": "green",
    "failed": "bold red",
}
SEVERITY_STYLES = {"info": "dim", "warning": "yellow", "error": "bold red"}


def render(view: View) -> RenderableType:
    """Everything worth a look, the most important first."""
    view = convert(_printable(to_plain(view)), View)
    return Group(_headline(view), *_in_full(view))


def render_short(view: View, workers: int = WORKERS_IN_SHORT, news: int = NEWS_IN_SHORT) -> RenderableType:
    """What matters most of it, in two dozen lines: so many ``workers``, and so many causes and faults as ``news``."""
    view = convert(_printable(to_plain(view)), View)
    return Group(_headline(view), *_in_short(view, workers, news))


def _in_full(view: View) -> Iterator[RenderableType]:
    yield _section("Runs", _runs(view.runs, view.at))
    if any(view.throughput.rates):
        yield _section("Throughput", _throughput(view.throughput))
    if view.queues:
        yield _section("Queues", _queues(view.queues, view.stale))
    if view.workers:
        yield _section(_workers_title(view), _workers(view.workers, WORKERS_SHOWN))
    if view.causes:
        yield _section("Failures by cause", _causes(view))
    if view.faults:
        yield _section("What happened", _faults(view.faults[:FAULTS_SHOWN]))


def _in_short(view: View, workers: int, news: int) -> Iterator[RenderableType]:
    yield _runs_in_short(view.runs, view.at)
    if any(view.throughput.rates):
        yield _throughput(view.throughput)
    if view.causes:
        causes = Group(*(_what(cause) for cause in view.causes[:news]))
        yield _headed("Failures by cause", causes, *_more(len(view.causes) - news, "cause"))
    if faults := [fault for fault in view.faults if fault.severity != "info"]:
        yield _headed("Faults", _faults(faults[:news]))
    if view.workers:
        yield _headed(_workers_title(view), _workers(view.workers, workers))
    if view.queues:
        depths = (f"{queue.name} {queue.messages:,}" for queue in view.queues)
        yield _headed("Queues", Text(" · ".join(depths), style="dim", no_wrap=True, overflow="ellipsis"))


def _workers_title(view: View) -> str:
    return f"Workers · {_states(view.workers_by_state)}"


def _printable(part: Any) -> Any:
    """``part`` of a view with all its texts as a terminal may get them."""
    if isinstance(part, str):
        return printable(part)
    if isinstance(part, dict):
        return {name: _printable(value) for name, value in part.items()}
    return [_printable(value) for value in part] if isinstance(part, list | tuple) else part


def _section(title: str, *body: RenderableType) -> RenderableType:
    return Group("", _headed(title, *body))


def _headed(title: str, *body: RenderableType) -> RenderableType:
    return Group(Rule(Text(title, style="bold"), align="left", style="dim"), *body)


def _headline(view: View) -> RenderableType:
    line = Text("TTG", style="bold")
    line.append(f"  {view.broker}", style="none")
    line.append(f"  {datetime.fromtimestamp(view.at):%H:%M:%S}", style="dim")
    if not view.broker and view.heard_seconds == 0 and not view.runs:
        line.append("  waiting for the broker's first answer", style="dim")
    elif view.stale:
        age = as_duration(view.heard_seconds)
        line.append(f"  STALE: the broker has not answered for {age}", style="bold yellow")
    if view.outage:
        return Group(line, Text(view.outage, style="yellow"))
    return line


def _runs(runs: Sequence[RunView], now: float) -> RenderableType:
    if not runs:
        return Text("no run seen yet: start one with `ttg run`", style="dim")
    return Group(*(_run(run, now) for run in runs[:RUNS_SHOWN]), *_more(len(runs) - RUNS_SHOWN, "run"))


def _runs_in_short(runs: Sequence[RunView], now: float) -> RenderableType:
    """The first, and of the next ones how far they are."""
    if not runs:
        return _runs(runs, now)
    others = [
        Text(
            f"{run.run}  {run.words}  {100 * run.fraction:.1f} %  {_figures(run, now)}",
            style="dim",
            no_wrap=True,
            overflow="ellipsis",
        )
        for run in runs[1:RUNS_IN_SHORT]
    ]
    return Group(_run(runs[0], now), *others, *_more(len(runs) - RUNS_IN_SHORT, "run"))


def _run(run: RunView, now: float) -> RenderableType:
    status = "stale" if run.stale and run.status is RunStatus.ACTIVE else run.words
    title = Text.assemble(
        (run.run, "bold"),
        f"  {run.function}  ",
        (status, STATE_STYLES.get(run.status, "yellow") if not run.stale and not run.paused else "yellow"),
    )
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    bar = ProgressBar(
        total=max(run.size, 1), completed=run.done + run.dead, complete_style="green", finished_style="green"
    )
    grid.add_row(bar, f"{100 * run.fraction:5.1f} %  {run.done + run.dead:,} of {run.size:,}")
    return Group(title, grid, Text(_figures(run, now), style="dim"), *_commonest(run))


def _commonest(run: RunView) -> list[Text]:
    mostly = Text(f"failing: {run.cause}", style="red", no_wrap=True, overflow="ellipsis")
    return [mostly] if run.cause and (run.dead or run.retrying) else []


def _figures(run: RunView, now: float) -> str:
    """``31.2/s · 9 to 12 min left · ends about 08:40 · 3 retrying · 1 dead``, what applies of it."""
    parts = [f"{as_rate(run.rate)}/s"] if run.rate else []
    if run.eta_seconds is not None:
        parts.append(f"{as_time_left(run.eta_seconds, run.eta_least_seconds, run.eta_most_seconds)} left")
        parts.append(as_ending(now, run.eta_seconds))
    parts += [f"{run.retrying:,} retrying"] if run.retrying else []
    parts += [f"{run.dead:,} dead"] if run.dead else []
    if run.status is RunStatus.ABANDONED:
        parts.append(f"coordinator gone {as_duration(run.silent_seconds)} ago: `ttg resume {run.run}` goes on")
    elif run.stale:
        parts.append(f"coordinator silent for {as_duration(run.silent_seconds)}")
    parts.append(run.note)
    took = as_duration(run.seconds)
    parts.append(f"{took} so far" if run.status is RunStatus.ACTIVE else f"took {took}")
    parts.append(f"{run.chunks_settled:,} chunks")
    return " · ".join(filter(None, parts))


def _queues(queues: Iterable[QueueView], stale: bool) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", style="dim" if stale else "")
    table.add_column("queue", min_width=17)
    for name in ("messages", "consumers", "ready", "unacknowledged"):
        table.add_column(name, justify="right")
    table.add_column("")
    for queue in queues:
        figures = (queue.messages, queue.consumers, queue.ready, queue.unacknowledged)
        table.add_row(
            queue.name, *(as_count(figure) for figure in figures), _spark([depth for _, depth in queue.history], 16)
        )
    return table


def _workers(workers: Sequence[WorkerView], shown: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for name in ("worker", "host", "state"):
        table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=18)
    for name in ("rate/s", "done", "memory"):
        table.add_column(name, justify="right")
    table.add_column("working on", overflow="ellipsis", no_wrap=True)
    for worker in workers[:shown]:
        table.add_row(
            worker.worker,
            worker.host,
            Text(worker.state, style=STATE_STYLES[worker.state]),
            as_rate(worker.rate) if worker.state == "alive" else "–",
            f"{worker.done:,}",
            as_bytes(worker.memory_bytes),
            _occupation(worker),
        )
    return Group(table, *_more(len(workers) - shown, "worker"))


def _occupation(worker: WorkerView) -> str:
    """What its slots do: ``c17 40 %`` each, or since when nothing was heard."""
    if worker.state in ("silent", "lost"):
        return f"last heard {as_duration(worker.heard_seconds)} ago"
    busy = [slot for slot in worker.slots if slot.state == "busy"]
    return ", ".join(f"{slot.task} {100 * slot.done // max(slot.total, 1)} %" for slot in busy) or "–"


def _causes(view: View) -> RenderableType:
    shown = [line for cause in view.causes[:CAUSES_SHOWN] for line in _cause(cause)]
    return Group(*shown, *_more(len(view.causes) - CAUSES_SHOWN, "cause"))


def _cause(cause: CauseView) -> tuple[Text, Text]:
    """How often and what; where, and how many were given up."""
    where = Text(f"{'':9}{cause.place}", style="dim", no_wrap=True, overflow="ellipsis")
    if cause.dead:
        where = Text.assemble(f"{'':9}", (f"{cause.dead:,} given up", "red"), (f"  {cause.place}", "dim"), no_wrap=True)
        where.overflow = "ellipsis"
    return _what(cause), where


def _what(cause: CauseView) -> Text:
    return Text(f"{cause.count:>6,} × {cause.error}: {cause.message}", no_wrap=True, overflow="ellipsis")


def _faults(faults: Sequence[FaultView]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True, overflow="ellipsis")
    for fault in faults:
        times = f" (× {fault.count})" if fault.count > 1 else ""
        at = Text(f"{datetime.fromtimestamp(fault.at):%H:%M:%S}", style="dim")
        table.add_row(at, Text(fault.text + times, style=SEVERITY_STYLES[fault.severity]))
    return table


def _more(count: int, noun: str) -> list[RenderableType]:
    return [Text(f"… and {count:,} more {noun}{'s' if count > 1 else ''}", style="dim")] if count > 0 else []


def _states(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in counts.items())


def _spark(values: Sequence[float], width: int) -> str:
    """A line of ``width`` little bars, each the mean of its share of ``values``."""
    if len(values) < 2 or max(values) <= 0:
        return ""
    count = min(width, len(values))
    edges = [len(values) * step // count for step in range(count + 1)]
    means = [sum(values[start:stop]) / (stop - start) for start, stop in pairwise(edges)]
    return "".join(SPARKS[min(7, int(8 * mean / max(means)))] if mean else " " for mean in means)


def _throughput(throughput: ThroughputView) -> RenderableType:
    rates = throughput.rates
    return Text(f"{_spark(rates, 60)}  peak {as_rate(max(rates, default=0))}/s", style="cyan")
