"""The picture in a terminal: readable at 80 columns. Rendering is a pure function of the :class:`View`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from msgspec import convert
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ttg.brokers.base import Broker
from ttg.clock import loop_time, unix_time
from ttg.messages import RunStatus
from ttg.monitor.feed import Feed, feeding
from ttg.monitor.snapshot import Snapshot
from ttg.monitor.view import (
    CauseView,
    FaultView,
    QueueView,
    RunView,
    ThroughputView,
    View,
    WorkerView,
    to_json,
    to_plain,
)
from ttg.monitor.words import as_bytes, as_count, as_duration, as_ending, as_rate, as_time_left
from ttg.streams import allow_escapes, printable

WORKERS_SHOWN = 12
FAULTS_SHOWN = 6
CAUSES_SHOWN = 4
RUNS_SHOWN = 5
LOOK_SECONDS = 0.1
SPARKS = "▁▂▃▄▅▆▇█"

Until = Callable[[Snapshot], bool]

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


async def monitor(
    broker: Broker,
    *,
    watch_seconds: float | None = 2.0,
    as_json: bool = False,
    until: Until = lambda snapshot: False,
) -> Snapshot | None:
    """``ttg monitor``: watch ``broker`` (opened; closed at the end) every ``watch_seconds``, or look once (``None``).

    Goes on through outages of the broker, and says that the figures are old. Ends when ``until`` says so, asked several
    times a second, and returns what is to be shown last. JSON is one view a line.
    """
    snapshot = Snapshot()
    if watch_seconds is not None:
        async with feeding(broker, snapshot) as task:
            await _watch(snapshot, task, watch_seconds, as_json, until)
        snapshot.close(unix_time())
        return snapshot
    try:
        await Feed(broker, snapshot).catch_up()
        show(snapshot, as_json=as_json)
        return None
    finally:
        await broker.close()


def show(snapshot: Snapshot, *, as_json: bool = False) -> None:
    """Print the picture once."""
    _print(_console(), snapshot.at(unix_time()), as_json)


def _console() -> Console:
    """On standard output; what it is given to draw is printable (:func:`render`)."""
    allow_escapes(sys.stdout)
    return Console()


async def _watch(
    snapshot: Snapshot, watching: asyncio.Task[None], watch_seconds: float, as_json: bool, until: Until
) -> None:
    """Show the picture again and again until the run has ended or the feed gives up."""
    console = _console()
    show_live = console.is_terminal and not as_json
    with Live(console=console, screen=True, auto_refresh=False) if show_live else contextlib.nullcontext() as live:
        while not watching.done() and not until(snapshot):
            view = snapshot.at(unix_time())
            if live is None:
                _print(console, view, as_json)
            else:
                live.update(render(view), refresh=True)
            await _pause(snapshot, watching, watch_seconds, until)
    if watching.done():
        watching.result()


async def _pause(snapshot: Snapshot, watching: asyncio.Task[None], seconds: float, until: Until) -> None:
    """For so long, but not beyond the end."""
    deadline = loop_time() + seconds
    while (left := deadline - loop_time()) > 0 and not watching.done() and not until(snapshot):
        await asyncio.wait([watching], timeout=min(left, LOOK_SECONDS))


def _print(console: Console, view: View, as_json: bool) -> None:
    if as_json:
        console.file.write(to_json(view).decode() + "\n")
        console.file.flush()
    else:
        console.print(render(view))


# ---------------------------------------------------------------------------------------------- rendering


def render(view: View) -> RenderableType:
    """Everything worth a look, the most important first."""
    view = convert(_printable(to_plain(view)), View)
    parts: list[RenderableType] = [_headline(view)]
    parts.append(_section("Runs", _runs(view.runs, view.at)))
    if any(view.throughput.rates):
        parts.append(_section("Throughput", _throughput(view.throughput)))
    if view.queues:
        parts.append(_section("Queues", _queues(view.queues, view.stale)))
    if view.workers:
        parts.append(_section(f"Workers · {_states(view.workers_by_state)}", _workers(view.workers)))
    if view.causes:
        parts.append(_section("Failures by cause", _causes(view)))
    if view.faults:
        parts.append(_section("Faults", _faults(view.faults)))
    return Group(*parts)


def _printable(part: Any) -> Any:
    """``part`` of a view with all its texts as a terminal may get them."""
    if isinstance(part, str):
        return printable(part)
    if isinstance(part, dict):
        return {name: _printable(value) for name, value in part.items()}
    return [_printable(value) for value in part] if isinstance(part, list | tuple) else part


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group("", Rule(Text(title, style="bold"), align="left", style="dim"), body)


def _headline(view: View) -> RenderableType:
    line = Text("TTG", style="bold")
    line.append(f"  {view.broker}", style="none")
    line.append(f"  {datetime.fromtimestamp(view.at):%H:%M:%S}", style="dim")
    if not view.broker and not view.outage and view.heard_seconds == 0 and not view.runs:
        line.append("  waiting for the broker's first answer", style="dim")
    if view.stale:
        age = f"for {as_duration(view.heard_seconds)}" if view.heard_seconds else "yet"
        line.append(f"  STALE: the broker has not answered {age}", style="bold yellow")
    if view.outage:
        return Group(line, Text(view.outage, style="yellow"))
    return line


def _runs(runs: Sequence[RunView], now: float) -> RenderableType:
    if not runs:
        return Text("no run seen yet: start one with `ttg run`", style="dim")
    return Group(*(_run(run, now) for run in runs[:RUNS_SHOWN]), *_more(len(runs) - RUNS_SHOWN, "run"))


def _run(run: RunView, now: float) -> RenderableType:
    status = "stale" if run.stale and run.status is RunStatus.ACTIVE else run.status.words
    title = Text.assemble(
        (run.run, "bold"),
        f"  {run.function}  ",
        (status, STATE_STYLES.get(run.status, "yellow") if not run.stale else "yellow"),
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
    parts.append(
        f"{as_duration(run.seconds)} so far" if run.status is RunStatus.ACTIVE else f"took {as_duration(run.seconds)}"
    )
    parts.append(f"{run.chunks_settled:,} chunks")
    parts += [f"{run.retrying:,} retrying"] if run.retrying else []
    parts += [f"{run.dead:,} dead"] if run.dead else []
    if run.status is RunStatus.ABANDONED:
        parts.append(f"coordinator gone {as_duration(run.silent_seconds)} ago: `ttg resume {run.run}` goes on")
    elif run.stale:
        parts.append(f"coordinator silent for {as_duration(run.silent_seconds)}")
    return " · ".join(filter(None, (*parts, run.note)))


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


def _workers(workers: Sequence[WorkerView]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    for name in ("worker", "host", "state"):
        table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=18)
    for name in ("rate/s", "done", "memory"):
        table.add_column(name, justify="right")
    table.add_column("working on", overflow="ellipsis", no_wrap=True)
    for worker in workers[:WORKERS_SHOWN]:
        table.add_row(
            worker.worker,
            worker.host,
            Text(worker.state, style=STATE_STYLES[worker.state]),
            as_rate(worker.rate) if worker.state == "alive" else "–",
            f"{worker.done:,}",
            as_bytes(worker.memory_bytes),
            _occupation(worker),
        )
    return Group(table, *_more(len(workers) - WORKERS_SHOWN, "worker"))


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
    what = Text(f"{cause.count:>6,} × {cause.error}: {cause.message}", no_wrap=True, overflow="ellipsis")
    where = Text(f"{'':9}{cause.place}", style="dim", no_wrap=True, overflow="ellipsis")
    if cause.dead:
        where = Text.assemble(f"{'':9}", (f"{cause.dead:,} given up", "red"), (f"  {cause.place}", "dim"), no_wrap=True)
        where.overflow = "ellipsis"
    return what, where


def _faults(faults: Sequence[FaultView]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for fault in faults[:FAULTS_SHOWN]:
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
