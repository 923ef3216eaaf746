"""The demonstration's tables, Metric / Target / Observed and the comparison of the backends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

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

METRIC_HEADER = ("Metric", "Target", "Observed", "Met")
RECOVERY_SECONDS = 1.5
RECOVERY_TARGETS = {
    "worker": f"≤ {RECOVERY_SECONDS} s",
    "freeze": "its lease or heartbeat runs out",
    "network": "its lease or heartbeat runs out",
    "child": f"≤ {RECOVERY_SECONDS} s",
    "broker": "when it is up again",
}
ALLOWED_SHARE = 1.25
ALLOWED_SECONDS = 3.0
"""How much longer than ideal a run may take where the prototype has no figure: a share, and the start."""

PROTOTYPE_EXPLAINED = (
    "Prototype: what the prototype of TTG took for the same work on three workers, as its own report says; "
    "not measured here."
)


def metric_rows(result: DemoResult) -> list[Row]:
    """Metric, target, observed, and whether it was met: as the prototype's report had them, filled with what was
    measured."""
    chunks, seen, check = result.scale.chunks(), result.seen, result.check
    troubled = bool(result.fault or check.dead)
    records = (chunks or 1) - (result.fault == "broker")  # a killed broker may not have written the last one
    return [
        _row("workers started", str(result.workers), str(result.workers_seen), result.workers_seen >= result.workers),
        *_fault_rows(result),
        _row("chunks", f"{chunks}/{chunks}" if chunks else "all", _chunks(result), _all_chunks(result)),
        _row("runtime", _runtime_target(result), f"{result.seconds:.1f} s", _in_time(result)),
        _row("throughput", _rate_target(result), f"{result.rate:,.1f}/s", _in_time(result)),
        _row("retry queue peak", "0 unless something failed", str(seen.retry_peak), troubled or not seen.retry_peak),
        _row("DLQ depth", str(check.dead), str(seen.letters), seen.letters == check.dead),
        _row("results messages", f"{chunks}" if chunks else "one per task", str(seen.results), seen.results >= records),
        _row("data loss", "0", f"{check.missing} ({check})", check.passed),
    ]


def needs_explanation(result: DemoResult) -> bool:
    """Whether the prototype is named."""
    return bool(result.scale.work_ms and _prototype_seconds(result))


def mark(well: bool) -> str:
    """A tick or a cross."""
    return "✔" if well else "✘"


def _row(metric: str, target: str, observed: str, well: bool) -> Row:
    return metric, target, observed, mark(well)


def _fault_rows(result: DemoResult) -> list[Row]:
    if not result.fault:
        return [_row("worker killed at", "nobody is killed", "nobody was", True)]
    verb = {"worker": "worker killed", "freeze": "worker frozen", "child": "child killed", "broker": "broker killed"}
    after = "taken over after" if result.fault in TAKEOVERS else "recovered after"
    seen, limit = result.seen, RECOVERY_SECONDS if result.fault in ("worker", "child") else inf
    recovered = seen.recovery_seconds is not None and seen.recovery_seconds <= limit
    return [
        _row(
            f"{verb.get(result.fault, 'network cut')} at",
            f"{100 * result.fault_share:.0f} %",
            _fault_observed(result),
            seen.fault_at is not None,
        ),
        _row(after, RECOVERY_TARGETS[result.fault], _recovery(result), recovered),
    ]


def _all_chunks(result: DemoResult) -> bool:
    return result.chunks_settled >= (result.scale.chunks() or 1)


def _in_time(result: DemoResult) -> bool:
    return result.seconds <= _limit_seconds(result) or not result.scale.work_ms


def _limit_seconds(result: DemoResult) -> float:
    """As fast as the prototype, or nearly as what is possible."""
    return _prototype_seconds(result) or ALLOWED_SHARE * result.ideal_seconds + ALLOWED_SECONDS


def _prototype_seconds(result: DemoResult) -> float | None:
    known = PROTOTYPE_SECONDS.get((result.scale.name, result.backend, result.fault == "worker"))
    return known if result.workers == 3 else None


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
        return "it ends"
    whose = ", prototype's" if _prototype_seconds(result) else ""
    return f"≤ {_limit_seconds(result):.1f} s{whose} (ideal {result.ideal_seconds:.1f} s)"


def _rate_target(result: DemoResult) -> str:
    if not result.scale.work_ms:
        return "it ends"
    size = result.scale.size
    return f"≥ {size / _limit_seconds(result):,.1f}/s (ideal {size / result.ideal_seconds:,.1f}/s)"


COMPARISON_HEADER = ("Backend", "Fault", "Runtime", "Ideal", "Over ideal", "Recovered after", "Chunks", "Data", "Met")


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
            mark(all(row[-1] == mark(True) for row in metric_rows(result))),
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
