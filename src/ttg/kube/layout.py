"""What is wanted on the cluster, as plain data that the rendering functions take."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ttg.errors import InputError
from ttg.kube.archive import Archive
from ttg.options import DEFAULTS, IMAGE, EntryPoint, Options, as_words

BACKENDS = ("redis", "rabbitmq")

# Left of a worker's memory for the supervisor, which must survive any child: since cgroup v2 a container that runs out
# of memory loses all its processes at once.
SUPERVISOR_MIB = 192
LEAST_CHILD_MIB = 64
POD_MIB = 1024
IDENTITY_DIGITS = 16
WORKERS = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    """The part that all sweeps share. ``storage_class`` ``None`` is the cluster's default; ``account`` says which
    Secret of the broker's holds."""

    backend: str = "redis"
    image: str = IMAGE
    namespace: str = "ttg"
    broker_storage: str = "8Gi"
    data_storage: str = "20Gi"
    storage_class: str | None = None
    account: str = "auth"

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"--backend: expected redis or rabbitmq, got {self.backend!r}")
        check_name(self.namespace, "--namespace")


@dataclass(frozen=True, slots=True)
class Sweep:
    """One run: the function, or instead of it the ``program`` and its arguments, its axes and what was chosen for it.
    ``files``: those of this machine that go along, by
    their place in the pods' working folder, which they make up in place of the image's ``/work``; ``archive``: the
    same, packed.

    Each worker has ``slots`` children and, unless told otherwise, as many CPUs; a run with 0 workers is left to an
    autoscaler's.
    """

    run: str
    function: str
    axes: tuple[str, ...] = ()
    chosen: Options = DEFAULTS
    files: Mapping[str, Path] = field(default_factory=dict)
    archive: Archive | None = None
    program: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.run, "--run-id")
        least = SUPERVISOR_MIB + self.slots * (self._memory_mib or LEAST_CHILD_MIB)
        if self.pod_mib < least:
            raise InputError(f"--pod-memory: expected at least {least}M for {self.slots} slots, got {self.pod_mib}M")

    @property
    def identity(self) -> str:
        """The identity of the run: the same command, with the same files, is the same run, and goes on with it."""
        told = (self.run, [*self.words, *self.words_behind], *([self.archive.digest] if self.archive else []))
        return hashlib.sha256(repr(told).encode()).hexdigest()[:IDENTITY_DIGITS]

    @property
    def full_name(self) -> str:
        """What a worker is told to wait for, and files are signed for: this run and no other of its id."""
        return f"{self.run}@{self.identity}"

    @property
    def workers(self) -> int:
        """How many pods."""
        return WORKERS if self.chosen.workers is None else self.chosen.workers

    @property
    def slots(self) -> int:
        """Children of a pod."""
        return self.chosen.slots

    @property
    def cpu(self) -> str:
        """What a pod asks for of a node's CPUs."""
        return self.chosen.cpu or str(self.slots)

    @property
    def pod_mib(self) -> int:
        """Memory of a pod: as was said, or what its supervisor and its children may use."""
        if self.chosen.pod_memory is not None:
            return self.chosen.pod_memory >> 20
        return SUPERVISOR_MIB + self.slots * self._memory_mib if self._memory_mib else POD_MIB

    @property
    def words(self) -> list[str]:
        """What the coordinator's ``ttg run`` is told of it. A child without a limit of its own has its share of what
        the supervisor leaves."""
        limit = self.chosen.memory or (self.pod_mib - SUPERVISOR_MIB) // self.slots << 20
        called = [] if self.program else [self.function]
        return [*called, *self.axes, *as_words(self.chosen.but(memory=limit), EntryPoint.RUN)]

    @property
    def words_behind(self) -> list[str]:
        """What it is told last of all."""
        return ["--", *self.program] if self.program else []

    @property
    def words_to_allow(self) -> list[str]:
        """What a ``ttg worker`` is told that it may execute: this, and nothing else."""
        if not self.program:
            return ["--allow", self.function]
        line = " ".join(self.program) if self.chosen.shell else shlex.join(self.program)
        return ["--allow-program", line]

    @property
    def words_to_resume(self) -> list[str]:
        """What its ``ttg resume`` is told."""
        return as_words(self.chosen, EntryPoint.RESUME)

    @property
    def _memory_mib(self) -> int:
        return -(-(self.chosen.memory or 0) >> 20)


def check_name(name: str, option: str) -> str:
    """``name`` itself, if Kubernetes accepts it in names and labels, with room for our prefixes."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise InputError(
            f"{option}: expected up to 40 lower-case letters, digits and inner dashes (it names Kubernetes objects), "
            f"got {name!r}"
        )
    return name
