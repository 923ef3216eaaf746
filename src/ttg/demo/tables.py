"""The demonstration's tables, Metric / Target / Observed and the comparison of the backends. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ttg.demo.faults import FAULTS
from ttg.demo.measure import TAKEOVERS, DataCheck, Observation
from ttg.demo.workload import PROTOTYPE_SECONDS, Scale


@dataclass(frozen=True, slots=True)
class DemoResult:
    """One demonstration run, measured.

    ``seconds`` from the start of workers (and of the embedded broker) to the last result; ``queues`` are the broker's
    own words after completion; ``folder`` is the run's, if it was kept.
    """

    backend: str
    scale: Scale
    workers: int
    fault: str | None
    fault_share: float
    status: str
    seconds: float
    chunks_settled: int
    workers_seen: int
    check: DataCheck
    seen: Observation
    queues: str
    folder: str | None

    @property
    def rate(self) -> float:
        """Parameters per second, over the whole run."""
        return self.check.present / self.seconds if self.seconds else 0.0

    @property
    def lost_share(self) -> float | None:
        """The share of the work after which a worker was lost for good."""
        return self.seen.fault_share if self.fault and FAULTS[self.fault].takes_worker else None

    @property
    def ideal_seconds(self) -> float:
        """The shortest possible runtime under the same circumstances."""
        return self.scale.ideal_seconds(self.workers, self.lost_share)


Row = tuple[str, ...]

METRIC_HEADER = ("Metric", "Target", "Observed")
RECOVERY_TARGETS = {
    "worker": "≤ 1.5 s",
    "freeze": "its lease or heartbeat runs out",
    "network": "its lease or heartbeat runs out",
    "child": "≤ 1.5 s",
    "broker": "when it is up again",
}


def metric_rows(result: DemoResult) -> list[Row]:
    """Metric, target, observed: as the prototype's report had them, filled with what was measured."""
    chunks = result.scale.chunks()
    seen = result.seen
    return [
        ("workers started", str(result.workers), str(result.workers_seen)),
        *_fault_rows(result),
        ("chunks", f"{chunks}/{chunks}" if chunks else "all", _chunks(result)),
        ("runtime", _runtime_target(result), f"{result.seconds:.1f} s"),
        ("throughput", _rate_target(result), f"{result.rate:,.1f}/s"),
        ("retry queue peak", "0 unless something failed", str(seen.retry_peak)),
        ("DLQ depth", str(result.check.dead), str(seen.letters)),
        ("results messages", f"{chunks}" if chunks else "one per task", str(seen.results)),
        ("data loss", "0", f"{result.check.missing} ({result.check})"),
    ]


def _fault_rows(result: DemoResult) -> list[Row]:
    if not result.fault:
        return [("worker killed at", "–", "–")]
    verb = {"worker": "worker killed", "freeze": "worker frozen", "child": "child killed", "broker": "broker killed"}
    after = "taken over after" if result.fault in TAKEOVERS else "recovered after"
    return [
        (f"{verb.get(result.fault, 'network cut')} at", f"{100 * result.fault_share:.0f} %", _fault_observed(result)),
        (after, RECOVERY_TARGETS[result.fault], _recovery(result)),
    ]


def _fault_observed(result: DemoResult) -> str:
    seen = result.seen
    if seen.fault_at is None or seen.fault_share is None:
        return "never: the run was over before"
    return f"{100 * seen.fault_share:.0f} % ({seen.fault_at:.1f} s)"


def _recovery(result: DemoResult) -> str:
    seconds = result.seen.recovery_seconds
    return "–" if seconds is None else f"{seconds:.2f} s"


def _chunks(result: DemoResult) -> str:
    chunks = result.scale.chunks()
    return f"{result.chunks_settled}/{chunks}" if chunks else str(result.chunks_settled)


def _runtime_target(result: DemoResult) -> str:
    if not result.scale.work_ms:
        return "–"
    before = PROTOTYPE_SECONDS.get((result.scale.name, result.backend, result.fault == "worker"))
    text = f"ideal {result.ideal_seconds:.1f} s"
    return f"{text}, prototype {before:g} s" if before and result.workers == 3 else text


def _rate_target(result: DemoResult) -> str:
    return f"ideal {result.scale.size / result.ideal_seconds:,.1f}/s" if result.scale.work_ms else "–"


COMPARISON_HEADER = ("Backend", "Fault", "Runtime", "Ideal", "Over ideal", "Recovered after", "Chunks", "Data")


def comparison_rows(results: list[DemoResult]) -> list[tuple[str, ...]]:
    """One row per run."""
    return [
        (
            result.backend,
            result.fault or "none",
            f"{result.seconds:.2f} s",
            f"{result.ideal_seconds:.2f} s" if result.scale.work_ms else "–",
            f"{100 * (result.seconds / result.ideal_seconds - 1):+.1f} %" if result.scale.work_ms else "–",
            _recovery(result),
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
