"""The contenders: what each promises (plain data, importable without their packages) and where its driver is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """One contender. ``broker`` is what it needs to run; ``local`` ones never leave the machine.

    The four promises are about the settings measured here: does work survive a restart (``durable``), how often does
    each parameter count after a crash (``counted``), where the results are when the run ends (``results``).
    """

    name: str
    module: str
    durable: str
    counted: str
    results: str
    broker: str | None = None
    local: bool = False
    installed: bool = True

    @property
    def driver(self) -> str:
        """Module that drives it."""
        return f"benchmarks.peers.{self.module}"


LIMIT = "plain"
"""Plain loops in plain processes, nothing collected: the limit that nobody can beat."""

_MEMORY = "Python objects in the caller"
_NOTHING = ("no", "crash fails or hangs the run", _MEMORY)

_ALL = [
    Facts(LIMIT, "plain", "no", "nothing collected", "none", local=True, installed=False),
    Facts("ttg", "ttg_driver", "yes (embedded, AOF)", "exactly once", "Parquet on disk", local=True, installed=False),
    Facts("ttg-redis", "ttg_driver", "yes (AOF)", "exactly once", "Parquet on disk", "redis", installed=False),
    Facts("ttg-rabbitmq", "ttg_driver", "yes", "exactly once", "Parquet on disk", "rabbitmq", installed=False),
    Facts("mp-pool", "mp_pool", *_NOTHING, local=True, installed=False),
    Facts("futures", "futures", *_NOTHING, local=True, installed=False),
    Facts("joblib", "joblib_loky", *_NOTHING, local=True),
    Facts("dask", "dask_cluster", "no", "at least once while the scheduler lives", _MEMORY),
    Facts("ray", "ray_cluster", "no", "at least once while the driver lives (tasks)", _MEMORY),
    Facts("celery-redis", "celery_queue", "as Redis is", "at most once; best: at least once", _MEMORY, "redis"),
    Facts("celery-rabbitmq", "celery_queue", "yes", "at most once; best: at least once", _MEMORY, "rabbitmq"),
    Facts("dramatiq-redis", "dramatiq_queue", "as Redis is", "at least once", _MEMORY, "redis"),
    Facts("dramatiq-rabbitmq", "dramatiq_queue", "yes", "at least once", _MEMORY, "rabbitmq"),
    Facts("rq", "rq_queue", "as Redis is", "job of a dead worker fails", _MEMORY, "redis"),
    Facts("taskiq", "taskiq_queue", "as Redis is", "at least once (stream, acknowledged)", _MEMORY, "redis"),
]

PEERS = {facts.name: facts for facts in _ALL}
OURS = tuple(name for name in PEERS if name.startswith("ttg"))
