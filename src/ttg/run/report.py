"""How a run ended, for people, for scripts, and for the exit code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ttg.results.folder import RunFolder
from ttg.run.reporter import human_count, human_seconds

EXIT_CODES = {"finished": 0, "finished_with_dead_letters": 5}
INCOMPLETE = 4


@dataclass(frozen=True, slots=True)
class Finished:
    """A run as it was left. ``status`` as in :class:`ttg.results.folder.RunInfo`; ``seconds`` over all its sittings."""

    run: str
    status: str
    size: int
    done: int
    dead: int
    seconds: float
    folder: Path
    parameters: tuple[str, ...]
    statistics: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, folder: RunFolder, status: str) -> Finished:
        """Read from the run's folder."""
        info = folder.info
        return cls(
            run=info.spec.run,
            status=status,
            size=info.size,
            done=info.done,
            dead=info.dead,
            seconds=info.seconds,
            folder=folder.path,
            parameters=info.spec.names,
            statistics=dict(info.statistics),
        )

    @property
    def exit_code(self) -> int:
        """As documented in ``ttg --help``."""
        return EXIT_CODES.get(self.status, INCOMPLETE)

    @property
    def rate(self) -> float:
        """Parameters per second."""
        return (self.done + self.dead) / self.seconds if self.seconds > 0 else 0.0

    def as_json(self) -> str:
        """One JSON object."""
        return json.dumps({**asdict(self), "folder": str(self.folder), "parameters_per_second": round(self.rate, 1)})

    def as_text(self) -> str:
        """A few lines that say what there is now and what can be done with it."""
        facts = [("table", str(_shown(self.folder / "results")))]
        facts += [(name, _described(column)) for name, column in self._result_columns()]
        if self.dead:
            facts.append(("failed", f"ttg failed {self.run} --group"))
        if self.exit_code == INCOMPLETE:
            facts.append(("go on", f"ttg resume {self.run}"))
        width = max(len(name) for name, _ in facts)
        return "\n".join([self._headline(), *(f"  {name:<{width}}  {text}" for name, text in facts)])

    def as_warning(self) -> str:
        """What even a quiet command must say: one line, or nothing when every parameter has a result."""
        if not self.exit_code:
            return ""
        return (
            f"{self._headline()}: {'ttg resume' if self.exit_code == INCOMPLETE else 'ttg failed --group'} {self.run}"
        )

    def _headline(self) -> str:
        words = self.status.replace("_", " ")
        counts = f"{human_count(self.done)} of {human_count(self.size)} results{self._dead_letters()}"
        return f"run {self.run} {words}: {counts} in {human_seconds(self.seconds)} ({human_count(self.rate)}/s)"

    def _dead_letters(self) -> str:
        return f", {human_count(self.dead)} dead letter{'' if self.dead == 1 else 's'}" if self.dead else ""

    def _result_columns(self) -> list[tuple[str, dict[str, Any]]]:
        own = {"index", "seconds", "attempt", "worker", *self.parameters}
        return [(name, column) for name, column in self.statistics.items() if name not in own and "mean" in column][:8]


def _described(column: dict[str, Any]) -> str:
    shown = {name: column[name] for name in ("min", "mean", "max") if column.get(name) is not None}
    return ", ".join(f"{name} {value:.6g}" for name, value in shown.items())


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
