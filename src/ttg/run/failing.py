"""What fails while a run goes on: its commonest cause, and whether the run should go on."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from ttg.errors import RunStopped
from ttg.messages import AnyEvent, DeadLetter, ParametersFailed, ResultHeader
from ttg.monitor.failure_groups import Causes
from ttg.monitor.words import as_cause
from ttg.run.config import CoordinatorConfig
from ttg.spec import RunSpec

log = logging.getLogger("ttg.run")

ALIKE = 10


@dataclass
class Failing:
    """The failures of one sitting. ``done`` and ``dead`` are the results and dead letters that it began with."""

    spec: RunSpec
    options: CoordinatorConfig
    done: int
    dead: int
    causes: Causes = field(default_factory=Causes)
    _first: DeadLetter | None = None
    _dead: Counter[tuple[str, str]] = field(default_factory=Counter)
    _samples: dict[tuple[str, str], DeadLetter] = field(default_factory=dict)
    _told: bool = False

    def on_event(self, event: AnyEvent) -> None:
        """Workers tell of failures, final or not."""
        if isinstance(event, ParametersFailed) and event.identity == self.spec.identity:
            self.causes.on_failed(event)

    def saw(self, header: ResultHeader) -> None:
        """A task was settled."""
        for letter in header.dead:
            self._first = self._first or letter
            cause = (letter.failure.error, letter.failure.place)
            self._dead[cause] += 1
            self._samples.setdefault(cause, letter)

    @property
    def cause(self) -> str:
        """The commonest cause with its place, in a few words; nothing when nothing has failed.

        Of dead letters if there are any: they came with the tasks, and events of failures may still be on their way.
        """
        if not self._dead:
            return self.causes.commonest(self.spec.run)
        return _in_words(self._samples[max(self._dead, key=self._dead.__getitem__)])

    def check(self, done: int, dead: int, retrying: int, size: int) -> None:
        """Raise ``RunStopped`` when more of ``size`` fails than was asked for. If the first ones all fail alike, say
        so.

        ``retrying`` parameters have failed and will be tried again.
        """
        limit = self.options.max_failures
        if limit is not None and dead > limit:
            counts = f"{dead} parameters failed for good, more than --max-failures allows ({limit})"
            raise self._stopped(f"{counts}, mostly of {self.cause}")
        if done + dead == size:
            return  # nothing is left to be stopped
        if self.options.fail_fast and dead > self.dead and self._first:
            which = f"parameter {self._first.index} failed for good, and --fail-fast was given"
            raise self._stopped(f"{which}: {_in_words(self._first)}")
        failing = dead - self.dead + retrying
        if done == self.done and failing >= min(ALIKE, size) and len(self.causes.groups) == 1:
            self._on_alike(failing)

    def _stopped(self, why: str) -> RunStopped:
        run = self.spec.run
        advice = f"`ttg failed {run} --group` tells more; mend the function, then `ttg resume {run}`"
        return RunStopped(f"{why}; {advice}")

    def _on_alike(self, failing: int) -> None:
        what = f"the first {failing:,} parameters all failed alike: {self.cause}"
        if self.options.fail_fast:
            raise RunStopped(f"{what}; --fail-fast was given: `ttg logs {self.spec.run}` shows what they printed")
        if not self._told:
            log.warning("%s (the run goes on: Ctrl-C stops it, as --fail-fast does by itself)", what)
        self._told = True


def _in_words(letter: DeadLetter) -> str:
    failure = letter.failure
    return as_cause(failure.error, failure.message, failure.place)
