"""How a run ended, for people, for scripts, and for the exit code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.clock import unix_time
from ttg.messages import RunStatus
from ttg.monitor.words import MESSAGE_CHARACTERS, as_cause, as_duration
from ttg.results.folder import RunFolder
from ttg.run.reporter import human_count

if TYPE_CHECKING:
    from ttg.results.dead_letters import Cause

EXIT_CODES = {RunStatus.FINISHED: 0, RunStatus.FINISHED_WITH_DEAD_LETTERS: 5}
INCOMPLETE = 4
CAUSES_IN_JSON = 10


@dataclass(frozen=True, slots=True)
class Finished:
    """A run as it was left, or as it is. ``seconds`` over all its sittings; ``heard_at`` is the last sign of life."""

    run: str
    status: RunStatus
    size: int
    done: int
    dead: int
    seconds: float
    folder: Path
    parameters: tuple[str, ...]
    statistics: dict[str, dict[str, Any]]
    heard_at: float = 0.0

    @classmethod
    def of(cls, folder: RunFolder) -> Finished:
        """Read from the run's folder."""
        info = folder.info
        done, dead = counts(folder)
        return cls(
            run=info.spec.run,
            status=folder.status,
            size=info.size,
            done=done,
            dead=dead,
            seconds=info.seconds,
            folder=folder.path,
            parameters=info.spec.names,
            statistics=dict(info.statistics),
            heard_at=folder.heard_at,
        )

    @property
    def exit_code(self) -> int:
        """As documented in ``ttg --help``."""
        return EXIT_CODES.get(self.status, INCOMPLETE)

    @property
    def rate(self) -> float:
        """Parameters per second."""
        return (self.done + self.dead) / self.seconds if self.seconds > 0 else 0.0

    @property
    def standing(self) -> dict[str, Any]:
        """How the run stands now, in the words of ``run.json``, which a killed coordinator did not write."""
        return {"state": str(self.status), "done": self.done, "dead": self.dead}

    def as_json(self) -> str:
        """One JSON object."""
        facts = {"folder": str(self.folder), "parameters_per_second": round(self.rate, 1)}
        causes = [
            {"error": cause.error, "place": cause.place, "message": cause.sample["message"], "count": cause.count}
            for cause in self._causes()[:CAUSES_IN_JSON]
        ]
        return json.dumps({**asdict(self), **facts, "causes": causes})

    @property
    def in_words(self) -> str:
        """``Finished 1,200 of 1,200 in 12.3 s``."""
        pace = f" in {as_duration(self.seconds)}" if self.seconds else ""
        word = "Finished" if self.status.is_finished else self.status.words.capitalize()
        return f"{word} {human_count(self.done + self.dead)} of {human_count(self.size)}{self._dead_letters()}{pace}"

    def as_text(self) -> str:
        """A few lines that say what there is now and what can be done with it."""
        facts = [("table", str(_shown(self.folder / "results")))]
        facts += [(name, _described(column)) for name, column in self._result_columns()]
        facts += self._failures()
        if self.status.is_resumable:
            facts.append(("go on", f"ttg resume {self.run}"))
        width = max(len(name) for name, _ in facts)
        return "\n".join([self._headline(), *(f"  {name:<{width}}  {text}" for name, text in facts)])

    def as_warning(self) -> str:
        """What even a quiet command must say: one line, or nothing when every parameter has a result."""
        if not self.exit_code:
            return ""
        mostly = "".join(f": {text}" for _, text in self._failures()[:1])
        advice = "ttg resume" if self.exit_code == INCOMPLETE else "ttg failed --group"
        return f"{self._headline()}{mostly}: {advice} {self.run}"

    def _failures(self) -> list[tuple[str, str]]:
        """The commonest cause, and where to look further."""
        if not (causes := self._causes()):
            return []
        first, *others = causes
        sample = first.sample
        more = f", and {human_count(len(others))} other cause{'s' if len(others) > 1 else ''}" if others else ""
        words = as_cause(first.error, sample["message"], first.place, MESSAGE_CHARACTERS)
        look = f"ttg failed show {sample['index']} {self.run}, ttg failed {self.run} --group"
        return [("failed", f"{human_count(first.count)} × {words}{more}"), ("why", look)]

    def _causes(self) -> list[Cause]:
        if not self.dead:
            return []
        from ttg.results.dead_letters import causes  # imports Arrow

        return causes(RunFolder.open(self.folder))

    def _headline(self) -> str:
        counts = f"{human_count(self.done)} of {human_count(self.size)} results{self._dead_letters()}"
        if self.status is RunStatus.ABANDONED:
            gone = as_duration(unix_time() - self.heard_at)
            return f"run {self.run} abandoned: {counts}; coordinator gone {gone} ago: `ttg resume {self.run}` goes on"
        pace = f" in {as_duration(self.seconds)} ({human_count(self.rate)}/s)" if self.seconds else ""
        return f"run {self.run} {self.status.words}: {counts}{pace}"

    def _dead_letters(self) -> str:
        return f", {human_count(self.dead)} dead letter{'' if self.dead == 1 else 's'}" if self.dead else ""

    def _result_columns(self) -> list[tuple[str, dict[str, Any]]]:
        own = {"index", "seconds", "attempt", "worker", *self.parameters}
        columns = self.statistics.items()
        results = [(name, column) for name, column in columns if name not in own and "mean" in column]
        return [*results[:8], *((name, column) for name, column in columns if "mixed" in column)]


def counts(folder: RunFolder) -> tuple[int, int]:
    """Results and dead letters on disk. Of a run that is not over its parts tell, since its coordinator cannot; who
    needs the rows of a damaged one is told so then, and not whoever lists runs, or removes one."""
    if folder.info.state is not RunStatus.ACTIVE:
        return folder.info.done, folder.info.dead
    from ttg.results.dataset import load_ledger

    ledger = load_ledger(
        folder, forgiving=True
    )  # only looks: what a coordinator is writing just now is not ours to tidy
    return ledger.done_count, ledger.dead_count


def _described(column: dict[str, Any]) -> str:
    shown = {name: column[name] for name in ("min", "mean", "max") if column.get(name) is not None}
    if "mixed" in column:
        return f"mixed: {column['mixed']}"
    return ", ".join(f"{name} {value:.6g}" for name, value in shown.items()) or "only missing values and NaN"


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
