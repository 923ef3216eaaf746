"""The dashboard's retry button: dead letters of a real run, tried again by a process of their own."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from runs import TtgRun, settled_on_disk
from ttg.errors import InputError, RunConflictError
from ttg.monitor.web.source import Retrial
from ttg.results.dead_letters import causes
from ttg.results.folder import RunFolder
from ttg.run.retry_command import Retrier
from waiting import until

WORKLOADS = str(Path(__file__).with_name("failing_workloads.py"))
SIZE = 200


@pytest.fixture
def fragile(ttg: TtgRun, tmp_path: Path) -> TtgRun:
    """A run with dead letters of two causes."""
    ttg.environment = {"MENDED": str(tmp_path / "mended")}
    arguments = ("--workers", "1", "--retries", "0", "--out", str(ttg.folder))
    ttg.start("run", f"{WORKLOADS}:fragile", f"i=range(0,{SIZE})", *arguments)
    assert ttg.wait() == 5, ttg.said()
    return ttg


def has_ended(run: TtgRun) -> bool:
    """Whether nobody holds the run any more, and it is finished."""
    with suppress(RunConflictError), RunFolder.open(run.folder).lock():
        return str(run.info().get("state", "")).startswith("finished")
    return False


def test_the_dead_letters_of_one_cause_become_results(fragile: TtgRun, tmp_path: Path) -> None:
    folder = RunFolder.open(fragile.folder)
    odd = next(cause for cause in causes(folder) if cause.error == "ValueError")
    (tmp_path / "mended").touch()
    retrier = Retrier(fragile.home, {"TTG_HOME": str(fragile.home), **fragile.environment})
    assert retrier(folder.spec.run, Retrial(error=odd.error, place=odd.place)) == odd.count == 4
    until(lambda: has_ended(fragile), within_seconds=60)
    assert (fragile.info()["done"], fragile.info()["dead"]) == (SIZE - 2, 2)
    assert dict(settled_on_disk(fragile.folder)) == {i: i * 2 for i in range(SIZE) if i % 100 != 3}
    assert retrier(folder.spec.run, Retrial(index=3)) == 1
    until(lambda: has_ended(fragile) and fragile.info()["dead"] == 1, within_seconds=60)
    assert retrier(folder.spec.run, Retrial()) == 1
    until(lambda: has_ended(fragile) and fragile.info()["dead"] == 0, within_seconds=60)
    with pytest.raises(InputError, match="nothing to retry: parameter 3"):
        retrier(folder.spec.run, Retrial(index=3))
    with pytest.raises(InputError, match="nothing to retry"):
        retrier(folder.spec.run, Retrial(error=odd.error, place=odd.place))


def test_what_keeps_a_retry_from_beginning_is_said(fragile: TtgRun) -> None:
    folder = RunFolder.open(fragile.folder)
    cause = causes(folder)[0]
    retrier = Retrier(fragile.home, {"QUEUE_BACKEND": "carrier-pigeon"})
    with pytest.raises(InputError, match="QUEUE_BACKEND: expected redis or rabbitmq"):
        retrier(folder.spec.run, Retrial(error=cause.error, place=cause.place))


def test_a_run_that_goes_on_is_left_alone(fragile: TtgRun) -> None:
    folder = RunFolder.open(fragile.folder)
    with folder.lock(), pytest.raises(RunConflictError, match="in use"):
        Retrier(fragile.home)(folder.spec.run, Retrial(error="ValueError", place="x"))
