"""One measurement as data: what is asked of a driver process, and what it answers. JSON, standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """Run ``function`` over ``range(count)`` with ``peer``.

    ``style``: ``plain`` (the function is handed over as it is), ``ranges`` (hand-written ranges of ``block`` indices),
    ``single`` (one message per parameter), ``auto`` (TTG's own chunks) or ``chunks`` (TTG with chunks of ``block``).
    ``timing``: ``steady`` (workers up, from the first submit to the last collected value), ``cold`` (from the start of
    the command), ``client`` (cold command, workers up). ``settings``: ``best`` or ``default``. ``kill_at`` is the share
    of executions after which one worker is killed.
    """

    peer: str
    workload: str
    function: str
    count: int
    workers: int
    style: str
    block: int
    timing: str
    timeout_seconds: float = 120.0
    settings: str = "best"
    kill_at: float | None = None
    broker: str | None = None
    folder: str = ""

    @property
    def variant(self) -> str:
        """What tells measurements of one peer in one workload apart."""
        parts = [f"N={self.count:,}", self.style]
        parts += [f"of {self.block:,}"] if self.style in ("ranges", "chunks") else []
        parts += [self.timing]
        parts += ["default settings"] if self.settings == "default" else []
        return " ".join(parts)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Job:
        return Job(**json.loads(text))


@dataclass
class Measurement:
    """What came of one job. ``status``: ``ok``, ``wrong``, ``failed``, ``timeout``, ``skipped``."""

    job: Job
    repeat: int
    status: str
    seconds: float | None = None
    peak_pss_mib: float | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """Repeats of one thing share this."""
        return self.job.workload, self.job.peer, self.job.variant
