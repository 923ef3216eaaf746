"""The demonstration's report as one self-contained HTML page: tables, throughput with the fault marked, timeline."""

from __future__ import annotations

from html import escape
from pathlib import Path

from ttg.demo.measure import Bar, Observation
from ttg.demo.tables import COMPARISON_HEADER, DemoResult, comparison_rows, metric_rows

WIDTH, LEFT, RIGHT = 960, 90, 16
PLOT_HEIGHT, LANE_HEIGHT = 190, 26
MAX_BARS = 6000

STYLE = Path(__file__).with_name("page.css").read_text()


def page(results: list[DemoResult], machine: str, title: str = "TTG demonstration") -> str:
    """The whole page."""
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(_lead(results))}</p>']
    if len(results) > 1:
        parts += ["<h2>Comparison</h2>", _table(COMPARISON_HEADER, comparison_rows(results))]
    for result in results:
        parts.append(_section(result))
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>\n{body}\n</body></html>\n"
    )


def _lead(results: list[DemoResult]) -> str:
    first = results[0]
    passed = sum(result.check.passed for result in results)
    return (
        f"{first.scale.size:,} parameters of {first.scale.work_ms:g} ms each on {first.workers} workers. "
        f"{passed} of {len(results)} runs kept every parameter exactly once, checked value by value."
    )


def _section(result: DemoResult) -> str:
    verdict = '<span class="ok">passed</span>' if result.check.passed else '<span class="bad">FAILED</span>'
    fault = f", {escape(result.seen.fault_text)}" if result.seen.fault_text else ""
    return "\n".join(
        [
            f"<h2>{escape(result.backend)}{' with a fault' if result.fault else ''}</h2>",
            f"<p>Data check: {verdict} – {escape(str(result.check))}{fault}.</p>",
            _table(("Metric", "Target", "Observed"), list(metric_rows(result))),
            "<h3>Throughput</h3>",
            throughput_svg(result.seen),
            "<h3>Workers over time, one bar per chunk</h3>",
            timeline_svg(result.seen),
            f"<h3>The broker's queues after completion</h3><pre>{escape(result.queues)}</pre>",
        ]
    )


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def throughput_svg(seen: Observation) -> str:
    """Parameters per second over time, smoothed over about a second, with the fault marked."""
    points = _rates(seen)
    end = max((sample.at for sample in seen.samples), default=1.0)
    top = max((rate for _, rate in points), default=1.0) * 1.1 or 1.0
    height = PLOT_HEIGHT - 30
    path = " ".join(f"{_x(at, end):.1f},{10 + height * (1 - rate / top):.1f}" for at, rate in points)
    marks = "".join(_gridline(share, top, height) for share in (0.0, 0.5, 1.0))
    return _svg(
        PLOT_HEIGHT, f'{marks}<polyline class="rate" points="{path}"/>{_fault(seen, end, PLOT_HEIGHT)}{_axis(end)}'
    )


def _rates(seen: Observation) -> list[tuple[float, float]]:
    points = []
    back = 0
    for number, sample in enumerate(seen.samples):
        while seen.samples[back].at < sample.at - 1.5 and back < number:
            back += 1
        before = seen.samples[back]
        if sample.at > before.at:
            points.append((sample.at, (sample.settled - before.settled) / (sample.at - before.at)))
    return points


def _gridline(share: float, top: float, height: float) -> str:
    y = 10 + height * (1 - share)
    label = f"{share * top:,.0f}/s"
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/><text x="8" y="{y + 4}">{label}</text>'
    )


def timeline_svg(seen: Observation) -> str:
    """Workers as lanes, chunks as bars; a gap after the fault is what the fault cost."""
    lanes = sorted({(bar.worker, bar.slot) for bar in seen.bars})
    end = max((sample.at for sample in seen.samples), default=1.0)
    height = LANE_HEIGHT * max(1, len(lanes)) + 34
    rows = {lane: number for number, lane in enumerate(lanes)}
    labels = "".join(
        f'<text x="8" y="{10 + LANE_HEIGHT * n + 17}">{escape(w[:12])}</text>' for n, (w, _) in enumerate(lanes)
    )
    bars = "".join(_bar(bar, rows[bar.worker, bar.slot], end) for bar in seen.bars[:MAX_BARS])
    return _svg(height, labels + bars + _fault(seen, end, height) + _axis(end, height))


def _bar(bar: Bar, lane: int, end: float) -> str:
    x, width = _x(bar.started, end), max(1.0, _x(bar.started + bar.seconds, end) - _x(bar.started, end) - 0.7)
    style = "bar failed" if bar.failed else "bar"
    y, height = 12 + LANE_HEIGHT * lane, LANE_HEIGHT - 6
    return f'<rect class="{style}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"/>'


def _fault(seen: Observation, end: float, height: float) -> str:
    if seen.fault_at is None:
        return ""
    x = _x(seen.fault_at, end)
    return (
        f'<line class="fault" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height - 20}"/>'
        f'<text class="fault" x="{x + 5:.1f}" y="18">fault at {seen.fault_at:.1f} s</text>'
    )


def _axis(end: float, height: float = PLOT_HEIGHT) -> str:
    return "".join(
        f'<text x="{_x(end * share, end) - 8:.0f}" y="{height - 6}">{end * share:.0f} s</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 0.98)
    )


def _x(at: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, at / (end or 1.0)))


def _svg(height: float, content: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{content}</svg>'
