"""When a worker that was started for one run may go."""

from __future__ import annotations

import pytest

from ttg.messages import RunRecord, RunStatus
from ttg.worker.run_cache import GONE_LOOKS, UNLED_LOOKS, AwaitedRun


def record(status: RunStatus = RunStatus.ACTIVE, identity: str = "a", revision: int = 0) -> RunRecord:
    return RunRecord(run="daily", identity=identity, status=status, revision=revision)


@pytest.mark.parametrize("text", ["daily", "daily@a"])
@pytest.mark.parametrize(
    "status", [RunStatus.FINISHED, RunStatus.FINISHED_WITH_DEAD_LETTERS, RunStatus.CANCELLED, RunStatus.FAILED]
)
def test_it_goes_when_nothing_will_follow(text: str, status: RunStatus) -> None:
    awaited = AwaitedRun(text)
    assert awaited.run == "daily"
    assert not awaited.is_over(record())
    assert awaited.is_over(record(status))


def test_it_stays_for_a_run_that_may_go_on() -> None:
    awaited = AwaitedRun("daily@a")
    assert not any(awaited.is_over(record(RunStatus.INTERRUPTED)) for _ in range(5 * GONE_LOOKS))


def test_yesterdays_run_of_that_id_is_not_ours() -> None:
    awaited = AwaitedRun("daily@b")
    assert not any(awaited.is_over(record(RunStatus.FINISHED)) for _ in range(5 * GONE_LOOKS))
    assert not awaited.is_over(record(identity="b"))
    assert awaited.is_over(record(RunStatus.FINISHED, "b"))


def test_without_an_identity_it_is_the_first_that_was_seen() -> None:
    awaited = AwaitedRun("daily")
    assert not awaited.is_over(record())
    assert not awaited.is_over(record(RunStatus.FINISHED, "b"))


def test_a_record_that_is_missing_for_a_moment_is_not_gone() -> None:
    awaited = AwaitedRun("daily@a")
    assert not any(awaited.is_over(None) for _ in range(5 * GONE_LOOKS)), "it is not known yet"
    awaited.is_over(record())
    assert not any(awaited.is_over(None) for _ in range(GONE_LOOKS - 1))
    awaited.is_over(record())
    assert [awaited.is_over(None) for _ in range(GONE_LOOKS)][-1]


@pytest.mark.parametrize("status", [RunStatus.INTERRUPTED, RunStatus.ACTIVE], ids=["interrupted", "killed"])
def test_it_waits_for_another_coordinator_for_a_stated_time(status: RunStatus) -> None:
    awaited = AwaitedRun("daily@a")
    for revision in (1, 2):  # somebody came back in time, and left again
        for _ in range(UNLED_LOOKS):
            assert not awaited.is_over(record(status, revision=revision))
            assert not awaited.is_abandoned
    assert not awaited.is_over(record(status, revision=2))
    assert awaited.is_abandoned
