"""What is wanted on the cluster, as plain data that the rendering functions take."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ttg.errors import InputError

BACKENDS = ("redis", "rabbitmq")

# Left of a worker's memory for the supervisor, which must survive any child: since cgroup v2 a container that runs out
# of memory loses all its processes at once.
SUPERVISOR_MIB = 192


@dataclass(frozen=True, slots=True)
class Cluster:
    """The part that all sweeps share. ``storage_class`` ``None`` is the cluster's default."""

    backend: str = "redis"
    image: str = "ttg-worker:latest"
    namespace: str = "ttg"
    broker_storage: str = "8Gi"
    data_storage: str = "20Gi"
    storage_class: str | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"--backend: expected redis or rabbitmq, got {self.backend!r}")
        check_name(self.namespace, "--namespace")


@dataclass(frozen=True, slots=True)
class Sweep:
    """One run. ``arguments`` are those of ``ttg run``: target, axes and options, but no broker, workers or folder.

    With ``has_code``, the run's ConfigMap of files is mounted as the working folder, in place of the image's ``/work``.
    Each of ``workers`` has ``slots`` children and as many CPUs, and ``memory_mib`` in all; a run with 0 workers is left
    to those of an autoscaler.
    """

    run: str
    arguments: tuple[str, ...]
    workers: int = 3
    slots: int = 1
    memory_mib: int = 1024
    has_code: bool = False

    def __post_init__(self) -> None:
        check_name(self.run, "--run-id")
        if self.workers < 0 or self.slots < 1:
            raise InputError(f"expected --workers 0 or more and --slots 1 or more, got {self.workers} and {self.slots}")
        if self.child_mib < 64:
            least = SUPERVISOR_MIB + 64 * self.slots
            raise InputError(f"--memory: expected at least {least}Mi for {self.slots} slots, got {self.memory_mib}Mi")

    @property
    def target(self) -> str:
        """The function, as its workers must allow it."""
        return self.arguments[0]

    @property
    def child_mib(self) -> int:
        """Memory that one child may use: its share of what the supervisor leaves."""
        return (self.memory_mib - SUPERVISOR_MIB) // self.slots


def check_name(name: str, option: str) -> str:
    """``name`` itself, if Kubernetes accepts it in names and labels, with room for our prefixes."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise InputError(
            f"{option}: expected up to 40 lower-case letters, digits and inner dashes (it names Kubernetes objects), "
            f"got {name!r}"
        )
    return name
