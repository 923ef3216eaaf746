"""Which measurement comes next: repeats interleaved (A B C, A B C, …), within a budget of time, saved as it goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.job import Job, Measurement
from benchmarks.peers import PEERS
from benchmarks.workloads import Workload

QUICK_TIMEOUT_SECONDS = 40.0


@dataclass
class Plan:
    """``budget_seconds`` is soft: a job that is not expected to fit is skipped, a running one is not cut short."""

    jobs: list[tuple[Workload, Job]]
    repeats: int
    budget_seconds: float | None = None
    began: float = field(default_factory=time.monotonic)
    took: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[int, Job]]:
        for repeat in range(1, self.repeats + 1):
            yield from ((repeat, job) for workload, job in self.jobs if self.fits(workload, job))

    def fits(self, workload: Workload, job: Job) -> bool:
        if self.budget_seconds is None:
            return True
        expected = self.took.get(key_of(job), workload.typical_seconds)
        return time.monotonic() - self.began + expected <= self.budget_seconds

    def note(self, job: Job, seconds: float) -> None:
        """How long a job really took, for the next repeat's decision."""
        self.took[key_of(job)] = seconds


def key_of(job: Job) -> tuple[str, str, str]:
    return job.workload, job.peer, job.variant


def select(
    workloads: Iterable[Workload], peers: set[str] | None, timing: str | None, quick: bool
) -> list[tuple[Workload, Job]]:
    """Jobs of the chosen workloads, restricted to chosen peers and timing."""
    jobs = ((workload, limited(job, quick)) for workload in workloads for job in workload.jobs(quick))
    return [
        (workload, job)
        for workload, job in jobs
        if (peers is None or job.peer in peers) and (timing is None or job.timing == timing)
    ]


def limited(job: Job, quick: bool) -> Job:
    """Tiny sizes need no long time limits."""
    return replace(job, timeout_seconds=min(job.timeout_seconds, QUICK_TIMEOUT_SECONDS)) if quick else job


def needs_peer_environment(jobs: Iterable[tuple[Workload, Job]]) -> bool:
    return any(PEERS[job.peer].installed for _, job in jobs)


def carry_out(
    plan: Plan,
    measure: Callable[[Job, int], Measurement],
    say: Callable[[str], None],
    save: Callable[[list[Measurement]], None],
) -> list[Measurement]:
    """Measure everything in the plan; ``save`` gets all findings so far after each one."""
    found: list[Measurement] = []
    for repeat, job in plan:
        began = time.monotonic()
        measurement = measure(job, repeat)
        plan.note(job, time.monotonic() - began)
        found.append(measurement)
        say(line_of(measurement))
        save(found)
    return found


def line_of(measurement: Measurement) -> str:
    job = measurement.job
    seconds = "" if measurement.seconds is None else f"{measurement.seconds:9.3f} s"
    memory = "" if measurement.peak_pss_mib is None else f"{measurement.peak_pss_mib:7.0f} MiB"
    error = str(measurement.detail.get("error", ""))[:160] if measurement.status in ("failed", "timeout") else ""
    what = f"#{measurement.repeat} {job.workload:7} {job.peer:18} {job.variant:40}"
    return f"{what} {measurement.status:8}{seconds}{memory} {error}".rstrip()


def save_json(path: Path, machine: dict[str, Any], found: list[Measurement]) -> None:
    """All findings, replaced as a whole so that an interrupted run leaves a readable file."""
    partial = path.with_suffix(".partial")
    records = [asdict(measurement) | {"variant": measurement.job.variant} for measurement in found]
    partial.write_text(json.dumps({"machine": machine, "measurements": records}, indent=1))
    partial.replace(path)


def load_json(path: Path) -> tuple[dict[str, Any], list[Measurement]]:
    """The inverse of :func:`save_json`."""
    content = json.loads(path.read_text())
    found = []
    for record in content["measurements"]:
        record.pop("variant")
        found.append(Measurement(**record | {"job": Job(**record["job"])}))
    return content["machine"], found
