"""From a run's specification to something the hot loop can call. Runs in the child."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttg.messages import Task
from ttg.seeds import rng_for, seeds
from ttg.space import Space, space_from_json
from ttg.spec import RunSpec
from ttg.target import bind, load
from ttg.worker.execution import Columns, Pace, positions_of


@dataclass
class Loaded:
    """A run whose function and space are loaded; ``pace`` is what is known of the function's speed."""

    spec: RunSpec
    function: Callable[..., Any]
    order: tuple[str, ...]
    space: Space
    pace: Pace = field(default_factory=Pace)

    def columns_of(self, task: Task, start: int, stop: int) -> Columns:
        """One column per argument of the function, for the indices from ``start`` up to ``stop``."""
        columns = self._columns(task, start, stop)
        return [columns[name] if name in columns else self._injected(name, start, stop) for name in self.order]

    def parameters_of(self, task: Task, start: int, stop: int) -> Columns:
        """One column per name of the space."""
        columns = self._columns(task, start, stop)
        return [columns[name] for name in self.spec.names]

    def _columns(self, task: Task, start: int, stop: int) -> dict[str, Sequence[Any]]:
        if task.rows is None:
            return self.space.columns(start, stop)
        rows = task.rows[positions_of(task.ranges, start, stop)]
        return {name: [row[name] for row in rows] for name in self.spec.names}

    def _injected(self, name: str, start: int, stop: int) -> Sequence[Any]:
        values = seeds(self.spec.seed, start, stop)
        return values if name == "seed" else list(map(rng_for, values))


def load_run(spec: RunSpec, secret: bytes | None) -> Loaded:
    """Import the user's module and build the space. Raises ``InputError``, or whatever the user's code raises."""
    function = load(spec.target, secret=secret)
    binding = bind(function, spec.names, str(spec.target))
    return Loaded(spec, binding.call, binding.order, space_from_json(spec.space))
