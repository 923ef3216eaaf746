"""The demonstration's report as one self-contained HTML page: tables, throughput with the fault marked, timeline."""

from __future__ import annotations

from html import escape
from math import ceil, log10
from pathlib import Path

from ttg.demo.measure import TAKEOVERS, Observation, TaskBar
from ttg.demo.tables import (
    COMPARISON_HEADER,
    METRIC_HEADER,
    PROTOTYPE_EXPLAINED,
    DemoResult,
    Row,
    comparison_rows,
    metric_rows,
    needs_explanation,
)

WIDTH, LEFT, RIGHT = 960, 74, 16
PLOT_HEIGHT, LANE_HEIGHT = 200, 28
TOP, BOTTOM = 26, 26
MAX_BARS = 6000
SLICES = 120
SHORTEST_SLICE_SECONDS = 0.25

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def page(results: list[DemoResult], machine: str, made: str, title: str = "TTG demonstration") -> str:
    """The whole page. ``made``: by what, and when."""
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(_lead(results))}</p>']
    if len(results) > 1:
        parts += ["<h2>Comparison</h2>", _table(COMPARISON_HEADER, comparison_rows(results))]
    parts += [_section(result) for result in results]
    explained = f"{escape(PROTOTYPE_EXPLAINED)} " if any(map(needs_explanation, results)) else ""
    parts.append(f"<footer>{explained}Measured on {escape(machine)}.<br>{escape(made)}</footer>")
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>\n{body}\n</body></html>\n"
    )


def _lead(results: list[DemoResult]) -> str:
    first = results[0]
    passed = sum(result.check.passed for result in results)
    work = f" of {first.scale.work_ms:g} ms each" if first.scale.work_ms else f" of {first.scale.name}"
    kept = "The run" if len(results) == passed == 1 else f"{passed} of {len(results)} runs"
    return (
        f"{first.scale.size:,} parameters{work} on {first.workers} workers. "
        f"{kept} kept every parameter exactly once, checked value by value."
    )


def _section(result: DemoResult) -> str:
    verdict = '<span class="ok">passed</span>' if result.check.passed else '<span class="bad">FAILED</span>'
    title = f"{result.backend}, fault: {result.fault}" if result.fault else f"{result.backend}, no fault"
    return "\n".join(
        [
            f"<section><h2>{escape(title)}</h2>",
            f"<p>Data check {verdict}: {escape(str(result.check))}. {escape(_story(result))}</p>",
            _table(METRIC_HEADER, metric_rows(result)),
            "<h3>Throughput: calls made per second, those included that were lost with a worker</h3>",
            throughput_svg(result),
            "<h3>Workers, one bar per chunk</h3>",
            timeline_svg(result.seen),
            _legend(result.seen),
            f"<h3>The broker's queues after completion</h3><pre>{escape(result.queues)}</pre></section>",
        ]
    )


def _story(result: DemoResult) -> str:
    seen = result.seen
    if seen.fault_at is None or seen.fault_share is None:
        return ""
    text = f"At {100 * seen.fault_share:.0f} %, after {seen.fault_at:.1f} s: {seen.fault_text}."
    if seen.recovery_seconds is None:
        return text
    verb = "Its work was taken over" if seen.fault in TAKEOVERS else "Work went on"
    return f"{text} {verb} {seen.recovery_seconds:.2f} s later."


def _table(header: Row, rows: list[Row]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _cell(text: str) -> str:
    words = {"✔": '<span class="ok" role="img" aria-label="met">✔</span>'}
    words["✘"] = '<span class="bad" role="img" aria-label="not met">✘</span>'
    return f"<td>{words.get(text, escape(text))}</td>"


# -- throughput


def throughput_svg(result: DemoResult) -> str:
    """Calls per second over time, the fault and the ideal marked."""
    seen = result.seen
    points, end = _rates(seen), _end(seen)
    ideal = 1000 * result.workers / result.scale.work_ms if result.scale.work_ms else 0.0
    top = _round_up(max([rate for _, rate in points] + [ideal, 1.0]) * 1.05)
    path = " ".join(f"{_x(at, end):.1f},{_y(rate, top):.1f}" for at, rate in points)
    marks = "".join(_gridline(share * top, top) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    best = _ideal(ideal, _ideal_after(result, ideal), top, _x(seen.fault_at or end, end)) if ideal else ""
    line = f'<polyline class="rate" points="{path}"/>'
    return _svg(PLOT_HEIGHT, marks + best + line + _fault(seen, end, PLOT_HEIGHT) + _axis(end, PLOT_HEIGHT))


def _rates(seen: Observation) -> list[tuple[float, float]]:
    """The middle of each slice of time, and the rate in it: a chunk's parameters are spread over its bar. The fault is
    the edge of two slices, so that what it changed changes there."""
    end, bars = _end(seen), [*seen.bars, *_lost(seen)]
    width = max(end / SLICES, SHORTEST_SLICE_SECONDS)
    first = (seen.fault_at or 0.0) % width
    done = [0.0] * int((end - first) / width)
    for bar in bars:
        for number in range(max(0, int((bar.started - first) / width)), len(done)):
            share = _overlap(bar, first + number * width, first + (number + 1) * width)
            if not share:
                break
            done[number] += share * bar.done
    points = [(first + (number + 0.5) * width, count / width) for number, count in enumerate(done)]
    return points if seen.fault_at is None else _with_step(points, seen.fault_at)


def _with_step(points: list[tuple[float, float]], at: float) -> list[tuple[float, float]]:
    """The rates before and after ``at`` go on until there."""
    before, after = [point for point in points if point[0] < at], [point for point in points if point[0] > at]
    return [*before, *((at, rate) for _, rate in (*before[-1:], *after[:1])), *after]


def _lost(seen: Observation) -> list[TaskBar]:
    """What the victim was at when it was hit, as much as it usually does in such a time: nobody has settled that."""
    if seen.fault not in TAKEOVERS or seen.fault_at is None:
        return []
    own = [bar for bar in seen.bars if bar.worker == seen.victim and bar.started < seen.fault_at]
    slots = {bar.slot: [other for other in own if other.slot == bar.slot] for bar in own}
    lost = (_lost_by(bars, seen.fault_at) for bars in slots.values() if sum(bar.seconds for bar in bars))
    return [bar for bar in lost if bar.seconds > 0]


def _lost_by(bars: list[TaskBar], fault_at: float) -> TaskBar:
    """What a slot that has done ``bars`` was at when the fault came."""
    began = max(bar.started + bar.seconds for bar in bars)
    pace = sum(bar.done for bar in bars) / sum(bar.seconds for bar in bars)
    seconds = fault_at - began
    return TaskBar(bars[0].worker, bars[0].slot, began, seconds, round(seconds * pace), 0)


def _overlap(bar: TaskBar, start: float, stop: float) -> float:
    """The share of ``bar`` between two times."""
    shared = min(stop, bar.started + bar.seconds) - max(start, bar.started)
    return max(0.0, shared) / bar.seconds if bar.seconds else float(start <= bar.started < stop)


def _round_up(value: float, steps: tuple[int, ...] = (1, 2, 4, 6, 8, 10)) -> float:
    """The next of ``steps`` times a power of ten."""
    unit = 10.0 ** (ceil(log10(value)) - 1)
    return next(unit * step for step in steps if unit * step >= 0.999 * value)


def _y(rate: float, top: float) -> float:
    return TOP + (PLOT_HEIGHT - TOP - BOTTOM) * (1 - rate / top)


def _gridline(rate: float, top: float) -> str:
    y = _y(rate, top)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="end" x="{LEFT - 8}" y="{y + 4:.1f}">{rate:,.0f}/s</text>'
    )


def _ideal_after(result: DemoResult, ideal: float) -> float:
    """What is possible after the fault, with a worker less if it took one."""
    return ideal if result.lost_share is None else ideal * (result.workers - 1) / result.workers


def _ideal(before: float, after: float, top: float, change_x: float) -> str:
    y, later = _y(before, top), _y(after, top)
    points = f"{LEFT},{y:.1f} {change_x:.1f},{y:.1f} {change_x:.1f},{later:.1f} {WIDTH - RIGHT},{later:.1f}"
    label = f'<text class="end" x="{WIDTH - RIGHT - 4}" y="{later - 6:.1f}">ideal {after:,.0f}/s</text>'
    return f'<polyline class="ideal" points="{points}"/>{label}'


# -- timeline


def timeline_svg(seen: Observation) -> str:
    """Workers as lanes, chunks as bars; a gap after the fault is what the fault cost."""
    lanes = sorted({(bar.worker, bar.slot) for bar in seen.bars})
    end = _end(seen)
    height = TOP + LANE_HEIGHT * max(1, len(lanes)) + BOTTOM
    rows = {lane: number for number, lane in enumerate(lanes)}
    labels = "".join(_label(worker, number, worker == seen.victim) for number, (worker, _) in enumerate(lanes))
    bars = "".join(_bar(bar, rows[bar.worker, bar.slot], end) for bar in seen.bars[:MAX_BARS])
    bars += "".join(_bar(bar, rows[bar.worker, bar.slot], end, lost=True) for bar in _lost(seen))
    return _svg(height, labels + bars + _fault(seen, end, height) + _axis(end, height))


def _label(worker: str, lane: int, is_victim: bool) -> str:
    style = "end victim" if is_victim else "end"
    y = TOP + LANE_HEIGHT * lane + LANE_HEIGHT / 2 + 4
    return f'<text class="{style}" x="{LEFT - 8}" y="{y:.0f}">{escape(worker.partition("-")[0][:9])}</text>'


def _bar(bar: TaskBar, lane: int, end: float, *, lost: bool = False) -> str:
    x = _x(bar.started, end)
    width = max(1.0, _x(bar.started + bar.seconds, end) - x - 1.0)
    style = "bar lost" if lost else "bar failed" if bar.failed else "bar taken" if bar.taken_over else "bar"
    y, height = TOP + LANE_HEIGHT * lane + 3, LANE_HEIGHT - 6
    title = f"{bar.done} parameters in {bar.seconds:.2f} s" + (", taken over" if bar.taken_over else "")
    title = f"about {bar.done} calls, lost with the worker and made again" if lost else title
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" rx="2">'
        f"<title>{title}</title></rect>"
    )


def _legend(seen: Observation) -> str:
    kinds = [("bar", "settled", True)]
    kinds.append(("lost", "at work when its worker was hit", bool(_lost(seen))))
    kinds.append(("taken", "taken over from the lost worker", any(bar.taken_over for bar in seen.bars)))
    kinds.append(("failed", "with failures", any(bar.failed for bar in seen.bars)))
    shown = (f'<span><i class="{style}"></i>{text}</span>' for style, text, occurs in kinds if occurs)
    return f'<p class="legend">{"".join(shown)}</p>'


# -- both


def _end(seen: Observation) -> float:
    return max((bar.started + bar.seconds for bar in seen.bars), default=1.0)


def _fault(seen: Observation, end: float, height: float) -> str:
    if seen.fault_at is None:
        return ""
    x = _x(seen.fault_at, end)
    word = {"worker": "killed", "child": "child killed", "broker": "broker killed", "freeze": "frozen"}.get(
        seen.fault or "", "network cut"
    )
    return (
        f'<line class="fault" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height - BOTTOM + 4}"/>'
        f'<text class="fault" x="{x + 6:.1f}" y="17">{word} at {seen.fault_at:.1f} s</text>'
    )


def _axis(end: float, height: float) -> str:
    step = _round_up(end / 10, (1, 2, 5, 10))
    ticks = [step * number for number in range(int(end / step) + 1)]
    return "".join(f'<text class="middle" x="{_x(at, end):.0f}" y="{height - 7}">{at:g} s</text>' for at in ticks)


def _x(at: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, at / end))


def _svg(height: float, content: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{content}</svg>'
