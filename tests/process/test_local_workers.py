"""Workers of this machine that die at once are not started for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs import eventually
from ttg.run import local_workers
from ttg.run.local_workers import MAX_QUICK_DEATHS, LocalWorkers, WorkerCommand, log_tail


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[LocalWorkers]:
    """Two workers whose arguments are wrong, so that they end as soon as they have read them."""
    workers = LocalWorkers(WorkerCommand(["--no-such-option"], os.environ, tmp_path / "logs"), 2)
    workers.start()
    yield workers
    workers.kill()


def test_they_are_given_up_after_a_few_quick_deaths(doomed: LocalWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_workers, "QUICK_DEATH_SECONDS", 60.0)  # whatever else this machine has to do
    codes: list[int] = []

    def hopeless() -> bool:
        codes.extend(doomed.look())
        return doomed.hopeless

    eventually(hopeless, "nobody is started any more")
    assert set(codes) == {2}
    assert MAX_QUICK_DEATHS <= len(codes) <= MAX_QUICK_DEATHS + 1, "the last two may die between two looks"
    assert "no-such-option" in log_tail(doomed.command.logs)


def test_one_that_lived_for_a_while_is_replaced_without_being_counted(doomed: LocalWorkers) -> None:
    codes: list[int] = []

    def many_have_died() -> bool:
        for number in doomed.started_at:
            doomed.started_at[number] -= 3_600.0  # as if each had worked for an hour
        codes.extend(doomed.look())
        return len(codes) > 2 * MAX_QUICK_DEATHS

    eventually(many_have_died, "each is started again")
    assert doomed.alive == 2


def test_the_last_words_of_a_worker_are_not_its_summary(tmp_path: Path) -> None:
    (tmp_path / "worker-1.log").write_text(
        'connected\ngiving up: forbidden\n{\n  "worker": "w",\n  "exit_code": 3\n}\n'
    )
    assert log_tail(tmp_path) == "connected\ngiving up: forbidden"


def test_one_that_cannot_be_started_for_now_is_started_later(doomed: LocalWorkers, tmp_path: Path) -> None:
    logs = doomed.command.logs
    logs.rename(tmp_path / "away")
    logs.touch()

    def none_is_left() -> bool:
        doomed.look()
        return not doomed.alive

    eventually(none_is_left, "both have ended")
    assert (doomed.alive, doomed.hopeless) == (0, False)
    logs.unlink()
    doomed.look()
    assert doomed.alive == 2
