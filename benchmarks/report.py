"""From measurements to a Markdown report: medians with spread, ratios to the best peer, targets met or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.job import Job, Measurement
from benchmarks.peers import LIMIT, OURS, PEERS, Facts
from benchmarks.workloads import TARGETS, WORKLOADS, FunctionRef

HIGHER_IS_BETTER = {"rate": True, "efficiency": True, "seconds": False, "mib": False}


@dataclass(frozen=True)
class Row:
    """Repeats of one contender in one variant. ``values`` are in the workload's metric, of verified repeats only."""

    job: Job
    values: tuple[float, ...]
    statuses: tuple[str, ...]
    detail: dict[str, Any]

    @property
    def middle(self) -> float | None:
        """Median, or ``None`` unless every repeat was complete and right."""
        return median(self.values) if self.values and set(self.statuses) == {"ok"} else None

    @property
    def group(self) -> tuple[str, int, str]:
        """Rows that may be compared with each other. A cold client and a cold command are different things."""
        return self.job.workload, self.job.count, self.job.timing


class Table:
    """All rows, with the two yardsticks of each group: the best peer and the limit."""

    def __init__(self, found: Iterable[Measurement]) -> None:
        self.limits = limit_seconds(found := list(found))
        repeats: dict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
        for measurement in found:
            repeats[measurement.key].append(measurement)
        self.rows = [self.row(each) for each in repeats.values()]

    def row(self, repeats: list[Measurement]) -> Row:
        values = (self.value(each) for each in repeats if each.status == "ok")
        statuses = tuple(each.status for each in repeats)
        return Row(repeats[0].job, tuple(v for v in values if v is not None), statuses, repeats[-1].detail)

    def value(self, measurement: Measurement) -> float | None:
        """A measurement in its workload's metric."""
        job, seconds = measurement.job, measurement.seconds
        metric = WORKLOADS[job.workload].metric
        if metric == "mib":
            return measurement.peak_pss_mib
        if seconds is None or metric == "seconds":
            return seconds
        if metric == "rate":
            return job.count / seconds
        limit = self.limits.get((job.workload, job.count))
        return limit / seconds if limit else None

    def best_peer(self, group: tuple[str, int, str]) -> Row | None:
        """The best verified row that is neither ours nor the limit."""
        peers = [r for r in self.rows if r.group == group and r.middle and r.job.peer not in (*OURS, LIMIT)]
        return max(peers, key=lambda row: goodness(row) or 0.0, default=None)

    def limit(self, group: tuple[str, int, str]) -> Row | None:
        return next((r for r in self.rows if r.group == group and r.middle and r.job.peer == LIMIT), None)

    def ratio(self, row: Row, yardstick: Row | None) -> float | None:
        """How many times as good as the yardstick: above 1 is better, whatever the metric."""
        ours, theirs = goodness(row), goodness(yardstick)
        return ours / theirs if ours and theirs else None

    def find(self, target: FunctionRef, peer: str, count: int | None) -> Row | None:
        for row in self.rows:
            job = row.job
            same = (job.workload, job.peer, job.timing) == (target.workload, peer, target.timing)
            if same and target.style in (None, job.style) and count in (None, job.count):
                return row
        return None


def limit_seconds(found: list[Measurement]) -> dict[tuple[str, int], float]:
    """Median seconds of the plain processes, by workload and count."""
    plain: dict[tuple[str, int], list[float]] = defaultdict(list)
    for each in found:
        if each.job.peer == LIMIT and each.status == "ok" and each.seconds:
            plain[each.job.workload, each.job.count].append(each.seconds)
    return {key: median(values) for key, values in plain.items()}


def goodness(row: Row | None) -> float | None:
    """The middle, turned so that more is better."""
    if row is None or not row.middle:
        return None
    return row.middle if HIGHER_IS_BETTER[WORKLOADS[row.job.workload].metric] else 1 / row.middle


# ---------------------------------------------------------------------------------------------- targets


def verdict(table: Table, target: FunctionRef, peer: str) -> tuple[str, bool] | None:
    """Observed figure as text, and whether the target is met; ``None`` when it was not measured."""
    row = table.find(target, peer, target.count)
    if row is None or row.middle is None:
        return None
    metric = WORKLOADS[target.workload].metric
    if target.kind == "value":
        met = row.middle >= target.bound if HIGHER_IS_BETTER[metric] else row.middle <= target.bound
        return text_of(row.middle, metric), met
    factor = factor_of(table, target, row, peer)
    if factor is None:
        return None
    met = factor <= target.bound if (target.kind, metric) == ("flat", "mib") else factor >= target.bound
    return f"{factor:.3g} ×", met


def factor_of(table: Table, target: FunctionRef, row: Row, peer: str) -> float | None:
    if target.kind == "flat":
        base = table.find(target, peer, target.base_count)
        return row.middle / base.middle if row.middle and base and base.middle else None
    yardstick = table.limit(row.group) if target.kind == "limit" else table.best_peer(row.group)
    return table.ratio(row, yardstick)


def target_text(target: FunctionRef) -> str:
    metric = WORKLOADS[target.workload].metric
    sign = "≥" if HIGHER_IS_BETTER[metric] and (target.kind, metric) != ("flat", "mib") else "≤"
    if target.kind == "value":
        return f"{sign} {text_of(target.bound, metric)}"
    yardstick = {"ratio": "the best peer", "limit": "the limit", "flat": f"N = {target.base_count or 0:,}"}
    return f"{'≤' if (target.kind, metric) == ('flat', 'mib') else '≥'} {target.bound:.3g} × {yardstick[target.kind]}"


# ---------------------------------------------------------------------------------------------- Markdown


def markdown(machine: dict[str, Any], found: list[Measurement]) -> str:
    """The whole report."""
    table = Table(found)
    sections = [heading(machine), targets_section(table)]
    groups = dict.fromkeys(row.group for row in table.rows)
    sections += [group_section(table, group) for group in groups]
    sections += [promises_section({row.job.peer for row in table.rows})]
    return "\n\n".join(sections) + "\n"


def heading(machine: dict[str, Any]) -> str:
    facts = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in machine.items() if name != "peers")
    pinned = " ".join(machine.get("peers", []))
    return f"# Benchmark\n\n{facts}\n- peers' environment: {pinned}"


def targets_section(table: Table) -> str:
    lines = [
        "## Targets",
        "",
        "| workload | contender | N | timing | style | target | observed | met |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for target in TARGETS:
        for peer in target.peers:
            observed = verdict(table, target, peer)
            words = ("not measured", "–") if observed is None else (observed[0], "yes" if observed[1] else "**no**")
            count = f"{target.count:,}" if target.count else ""
            what = f"| {target.workload} | {peer} | {count} | {target.timing} | {target.style or ''} "
            lines.append(f"{what}| {target_text(target)} | {words[0]} | {words[1]} |")
    return "\n".join(lines)


def group_section(table: Table, group: tuple[str, int, str]) -> str:
    name, count, timing = group
    workload = WORKLOADS[name]
    rows = sorted((r for r in table.rows if r.group == group), key=lambda row: -(goodness(row) or 0.0))
    lines = [
        f"## {name}: {workload.title} (N = {count:,}, {timing})",
        "",
        "| contender | how | median | spread | × best peer | × limit | repeats | remarks |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    best, limit = table.best_peer(group), table.limit(group)
    lines += [row_line(table, row, best, limit) for row in rows]
    return "\n".join(lines)


def row_line(table: Table, row: Row, best: Row | None, limit: Row | None) -> str:
    metric = WORKLOADS[row.job.workload].metric
    middle = row.middle
    name = f"**{row.job.peer}**" if row.job.peer in OURS else row.job.peer
    figures = ("–", "–") if middle is None else (text_of(middle, metric), spread_text(row, metric))
    ratios = [f"{ratio:.3g}" if (ratio := table.ratio(row, yard)) else "" for yard in (best, limit)]
    cells = [name, how(row.job), *figures, *ratios, str(len(row.statuses)), remarks(row)]
    return f"| {' | '.join(cells)} |"


def how(job: Job) -> str:
    block = f" of {job.block:,}" if job.style in ("ranges", "chunks") else ""
    return f"{job.style}{block}" + (", default settings" if job.settings == "default" else "")


def spread_text(row: Row, metric: str) -> str:
    low, high = min(row.values), max(row.values)
    return f"{text_of(low, metric)} … {text_of(high, metric)}"


def text_of(value: float, metric: str) -> str:
    if metric == "rate":
        return f"{value:,.0f}/s" if value < 1e5 else f"{value / 1e6:.2f} M/s"
    return {"seconds": f"{value:.3f} s", "efficiency": f"{value:.1%}", "mib": f"{value:.0f} MiB"}[metric]


def remarks(row: Row) -> str:
    """What a reader must know beside the figure."""
    notes = []
    bad = [status for status in row.statuses if status != "ok"]
    if bad:
        limit = f" after {row.job.timeout_seconds:.0f} s" if "timeout" in bad else ""
        notes.append(f"{', '.join(bad)}{limit}")
    again = row.detail.get("checked", {}).get("executions", 0) - row.job.count
    if row.job.kill_at and again > 0:
        notes.append(f"{again} executed again")
    if error := row.detail.get("error"):
        notes.append(str(error).replace("|", "/")[-100:])
    return "; ".join(notes)


def promises_section(peers: set[str]) -> str:
    lines = [
        "## What each one promises",
        "",
        "| contender | broker | work survives a restart | each parameter counts | results |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [promise_line(facts) for name, facts in PEERS.items() if name in peers]
    return "\n".join(lines)


def promise_line(facts: Facts) -> str:
    broker = facts.broker or ("embedded Valkey" if facts.name == "ttg" else "none")
    return f"| {facts.name} | {broker} | {facts.durable} | {facts.counted} | {facts.results} |"
