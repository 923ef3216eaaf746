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
    statistics: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, folder: RunFolder, status: str) -> Finished:
        """Read from the run's folder."""
        info = folder.info
        return cls(
            info.spec.run, status, info.size, info.done, info.dead, info.seconds, folder.path, dict(info.statistics)
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
        lines = [self._headline(), f"  table   {_shown(self.folder / 'results')}"]
        lines += [f"  {name:<7} {_described(column)}" for name, column in self._result_columns()]
        if self.dead:
            lines.append(f"  failed  {human_count(self.dead)} dead letters: ttg failed {self.run} --group")
        if self.exit_code == INCOMPLETE:
            lines.append(f"  go on   ttg resume {self.run}")
        return "\n".join(lines)

    def _headline(self) -> str:
        words = self.status.replace("_", " ")
        return (
            f"run {self.run} {words}: {human_count(self.done)} results, {human_count(self.dead)} dead letters "
            f"of {human_count(self.size)} in {human_seconds(self.seconds)} ({human_count(self.rate)}/s)"
        )

    def _result_columns(self) -> list[tuple[str, dict[str, Any]]]:
        own = {"index", "seconds", "attempt", "worker"}
        return [(name, column) for name, column in self.statistics.items() if name not in own and "mean" in column][:8]


def _described(column: dict[str, Any]) -> str:
    shown = {name: column[name] for name in ("min", "mean", "max") if column.get(name) is not None}
    return ", ".join(f"{name} {value:.6g}" for name, value in shown.items())


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
