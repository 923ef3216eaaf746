"""A run with a coordinator and workers of its own on a broker that a test breaks, and what its calls tell after."""

from __future__ import annotations

import json
import os
import signal
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from fault_workloads import value
from tests.process.sites import Site, report

from runs import TtgRun, apply_oracle, children_of, eventually

WORKLOADS = str(Path(__file__).with_name("fault_workloads.py"))
LEASE_SECONDS = "2"
RESUBMITTED = "submitting what is missing again"
CALL_SECONDS = 0.005


@dataclass
class Call:
    """One execution of one parameter."""

    index: int
    pid: int
    at: float


@dataclass
class Fleet:
    """Start a run and workers, wait for progress, and judge it at the end."""

    site: Site
    folder: Path
    size: int = 600
    namespace: str = field(default_factory=lambda: f"f{uuid4().hex[:8]}")
    workers: list[TtgRun] = field(default_factory=list)
    coordinator: TtgRun = field(init=False)

    def __post_init__(self) -> None:
        self.calls_file = self.folder / "calls"
        self.environment = {
            "CALLS": str(self.calls_file),
            "TTG_NAMESPACE": self.namespace,
            "TTG_LEASE_SECONDS": LEASE_SECONDS,
        }
        self.coordinator = self._process("coordinator")

    def _process(self, name: str) -> TtgRun:
        home = self.folder / name
        home.mkdir()
        return TtgRun(self.folder / "run", home, self.environment)

    # -- starting

    def run(self, *options: str, url: str = "", function: str = "noted") -> Fleet:
        """Start the coordinator, without workers."""
        target, axis = f"{WORKLOADS}:{function}", f"i=range(0,{self.size})"
        common = ("--out", str(self.coordinator.folder), "--run-id", "r", "--workers", "0", "--retry-delay", "200ms")
        self.coordinator.start("run", target, axis, *common, "--broker", url or self.site.url, *options)
        return self

    def resume(self, *options: str) -> Fleet:
        """Start another coordinator for the same run."""
        self.coordinator = self._process(f"coordinator-{uuid4().hex[:4]}")
        folder = str(self.coordinator.folder)
        self.coordinator.start("resume", folder, "--workers", "0", "--broker", self.site.url, *options)
        return self

    def join(self, count: int = 1, *options: str, url: str = "", inside: tuple[str, ...] = ()) -> Fleet:
        """Start workers, ``inside`` another host's network."""
        for _ in range(count):
            name = f"w{len(self.workers)}"
            arguments = ("--name", name, "--allow", "*", "--until-run", "r", *options)
            worker = self._process(name)
            worker.inside = inside
            self.workers.append(worker.start("worker", "--broker", url or self.site.url, *arguments))
        return self

    # -- looking

    def calls(self) -> list[Call]:
        """All executions so far."""
        if not self.calls_file.exists():
            return []
        lines = [line.split() for line in self.calls_file.read_text().splitlines()]
        return [Call(int(index), int(pid), float(at)) for index, pid, at in lines]

    def wait_for_calls(self, count: int) -> Fleet:
        """Until so many more calls were made than now."""
        wanted = len(self.calls()) + count
        eventually(lambda: len(self.calls()) >= wanted, f"{wanted} calls: {self.coordinator.said()}")
        return self

    # -- the end

    def finish(self, code: int = 0, repeats_of: Collection[int] | None = ()) -> Fleet:
        """The coordinator ends with ``code``, and the oracle agrees. ``repeats_of``: the processes whose calls others
        had to make again, all because of the fault; ``None``: the fault makes anybody repeat anything."""
        try:
            eventually(self._ended, "the end of the run")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None
        assert self.coordinator.wait() == code, self.story()
        apply_oracle(self.coordinator.folder, self.size, value, dead=set() if code == 0 else None)
        if repeats_of is not None:
            self._check_repeats(repeats_of)
        return self

    def _check_repeats(self, excused: Collection[int]) -> None:
        """A system that heals itself hides its bugs: nothing is submitted or executed again without a reason."""
        assert RESUBMITTED not in self.coordinator.said(), self.story()
        by_index = self.executed_again().items()
        unexplained = {index: calls for index, calls in by_index if sum(call.pid not in excused for call in calls) > 1}
        assert not unexplained, f"executed again: {unexplained}\n{self.story()}"

    def slots_of(self, worker: TtgRun) -> list[int]:
        """The processes that execute calls for a worker, now."""
        return children_of(worker.pid)

    def story(self) -> str:
        """What everybody said."""
        return "\n".join(f"--- {process.home.name}\n{process.said()}" for process in (self.coordinator, *self.workers))

    def _ended(self) -> bool:
        assert self.coordinator.process is not None
        return self.coordinator.process.poll() is not None

    def retire(self) -> None:
        """Nothing stays behind."""
        for process in (*self.workers, self.coordinator):
            if process.process is not None and process.process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.process.wait()

    def summary_of(self, worker: TtgRun) -> dict[str, Any]:
        """The JSON at the end of a worker's log."""
        said = worker.said()
        summary: dict[str, Any] = json.loads(said[said.rindex("\n{\n") :])
        return summary

    def executed_again(self) -> dict[int, list[Call]]:
        """Parameters that were executed more than once."""
        by_index: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls():
            by_index[call.index].append(call)
        return {index: calls for index, calls in by_index.items() if len(calls) > 1}

    def note(self, fault: str, began: float) -> None:
        """Record the figures: what was executed before the fault and again after it is lost work, and the time until
        all of that was done again is the time to recover (or until the next call, if nothing was lost)."""
        lost = [calls for calls in self.executed_again().values() if calls[0].at <= began < calls[-1].at]
        following = [call.at for call in self.calls() if call.at > began]
        recovered = max((calls[-1].at for calls in lost), default=min(following, default=began))
        report(
            os.environ.get("FAULT_REPORT"),
            fault=fault,
            broker=self.site.name,
            lost_seconds=round(CALL_SECONDS * len(lost), 3),
            recovery_seconds=round(recovered - began, 3),
        )
