"""The demonstration's tables, Metric / Target / Observed and the comparison of the backends. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ttg.demo.measure import DataCheck, Observation
from ttg.demo.workload import PROTOTYPE_SECONDS, Scale
from ttg.run.reporter import human_seconds


@dataclass(frozen=True, slots=True)
class DemoResult:
    """One demonstration run, measured. ``queues`` are the broker's own words after completion."""

    backend: str
    scale: Scale
    workers: int
    fault: str | None
    status: str
    seconds: float
    first_result_seconds: float
    chunks_settled: int
    workers_seen: int
    check: DataCheck
    seen: Observation
    queues: str
    folder: str

    @property
    def rate(self) -> float:
        """Parameters per second, over the whole run."""
        return self.check.present / self.seconds if self.seconds else 0.0

    @property
    def lost_share(self) -> float | None:
        """The share of the work after which a worker was lost for good."""
        return self.seen.fault_share if self.fault in ("worker", "freeze", "network") else None

    @property
    def ideal_seconds(self) -> float:
        """The shortest possible runtime under the same circumstances."""
        return self.scale.ideal_seconds(self.workers, self.lost_share)


Row = tuple[str, str, str]


def metric_rows(result: DemoResult) -> list[Row]:
    """Metric, target, observed: as the prototype's report had them, filled with what was measured."""
    chunks = result.scale.chunks()
    seen = result.seen
    rows = [
        ("workers started", str(result.workers), str(result.workers_seen)),
        (f"{result.fault or 'worker'} fault at", _fault_target(result), _fault_observed(result)),
        ("chunks", f"{chunks}/{chunks}" if chunks else "all", _chunks(result)),
        ("runtime", _runtime_target(result), human_seconds(result.seconds)),
        ("throughput", _rate_target(result), f"{result.rate:,.1f}/s"),
        ("retry queue peak", "0 unless something failed", str(seen.retry_peak)),
        ("DLQ depth", str(result.check.dead), str(seen.letters)),
        ("results messages", f"{chunks}" if chunks else "one per task", str(seen.results)),
        ("data loss", "0", _loss(result.check)),
    ]
    if result.fault:
        rows.insert(2, ("taken over after", _takeover_target(result), _takeover(result)))
    return rows


def _fault_target(result: DemoResult) -> str:
    return "about 30 %" if result.fault else "–"


def _fault_observed(result: DemoResult) -> str:
    seen = result.seen
    if seen.fault_at is None or seen.fault_share is None:
        return "–" if not result.fault else "never: the run was over before"
    return f"{100 * seen.fault_share:.0f} % ({seen.fault_at:.1f} s)"


def _takeover_target(result: DemoResult) -> str:
    return {"worker": "≤ 1.5 s", "child": "no takeover needed", "broker": "no takeover needed"}.get(
        result.fault or "", "when its lease runs out"
    )


def _takeover(result: DemoResult) -> str:
    seconds = result.seen.takeover_seconds
    return "–" if seconds is None else f"{seconds:.2f} s"


def _chunks(result: DemoResult) -> str:
    chunks = result.scale.chunks()
    return f"{result.chunks_settled}/{chunks}" if chunks else str(result.chunks_settled)


def _runtime_target(result: DemoResult) -> str:
    if not result.scale.work_ms:
        return "–"
    before = PROTOTYPE_SECONDS.get((result.scale.name, result.backend, result.fault == "worker"))
    text = f"ideal {result.ideal_seconds:.1f} s"
    return f"{text}, prototype {before:g} s" if before else text


def _rate_target(result: DemoResult) -> str:
    return f"ideal {result.scale.size / result.ideal_seconds:,.1f}/s" if result.scale.work_ms else "–"


def _loss(check: DataCheck) -> str:
    return f"{check.missing} ({check})"


COMPARISON_HEADER = ("Backend", "Fault", "Runtime", "Ideal", "Over ideal", "Taken over after", "Chunks", "Data")


def comparison_rows(results: list[DemoResult]) -> list[tuple[str, ...]]:
    """One row per run."""
    return [
        (
            result.backend,
            result.fault or "none",
            f"{result.seconds:.2f} s",
            f"{result.ideal_seconds:.2f} s" if result.scale.work_ms else "–",
            f"{100 * (result.seconds / result.ideal_seconds - 1):+.1f} %" if result.scale.work_ms else "–",
            _takeover(result),
            _chunks(result),
            str(result.check),
        )
        for result in results
    ]


def as_markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def as_text(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """The same for a terminal: aligned columns."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
