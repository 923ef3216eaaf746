"""What of its machine each slot of a worker has: threads, and one GPU. Said by the environment of the slot's children,
before they import anything, for libraries look there once.

A GPU is one of those that the environment of the worker leaves visible (under Slurm those of the job), in turn: with
more slots than GPUs several slots share one. Imports nothing heavy: children start before the worker is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ttg.errors import SettingsError

THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
GPU = "gpu"
"""The label of a worker that has some."""

CUDA, HIP, ROCR = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Shares:
    """``threads`` of each slot, ``None``: one, unless the environment says otherwise; ``gpus`` of all slots together.

    Raises ``SettingsError`` when fewer GPUs are visible.
    """

    threads: int | None
    gpus: int
    environment: Mapping[str, str]

    def __post_init__(self) -> None:
        visible_gpus(self.environment, 0, self.gpus)

    def of(self, slot: int) -> dict[str, str]:
        """The variables of that slot's children."""
        gpu = visible_gpus(self.environment, slot % self.gpus, 1) if self.gpus else {}
        return {**self._threads(), **gpu}

    def _threads(self) -> dict[str, str]:
        """A thread per core in every child would fight over the cores, and NumPy's spin from the moment it is
        imported: the slots are the parallelism."""
        if self.threads is None and any(name in self.environment for name in THREAD_COUNTS):
            return {}
        return dict.fromkeys(THREAD_COUNTS, str(self.threads or 1))


def visible_gpus(environment: Mapping[str, str], first: int, count: int) -> dict[str, str]:
    """The variables that leave ``count`` of the GPUs visible that ``environment`` does, from the one at ``first``.

    AMD's runtime hides what ``ROCR_VISIBLE_DEVICES`` leaves out before HIP counts: there, HIP's are counted from 0.
    """
    if not count:
        return {}
    found = {CUDA: _part(environment, CUDA, first, count)}
    if ROCR in environment:
        found[ROCR], found[HIP] = _part(environment, ROCR, first, count), ",".join(map(str, range(count)))
    else:
        found[HIP] = _part(environment, HIP if HIP in environment else CUDA, first, count)
    return found


def _part(environment: Mapping[str, str], name: str, first: int, count: int) -> str:
    if name not in environment:
        return ",".join(map(str, range(first, first + count)))
    visible = [device.strip() for device in environment[name].split(",") if device.strip() not in ("", "-1")]
    if len(visible) < first + count:
        raise SettingsError(
            f"expected {first + count} GPUs for the workers here, but {name}={environment[name]} leaves "
            f"{len(visible)} visible: give fewer --gpus, or fewer --workers"
        )
    return ",".join(visible[first : first + count])
