"""The coordinator dies at each step of its work, or its disk is full: nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.process.coordinator_stage import MOMENTS
from tests.process.fleet import WORKLOADS, Fleet
from tests.process.sites import ValkeySite

from runs import eventually

STAGE = str(Path(__file__).with_name("coordinator_stage.py"))


@pytest.fixture(scope="module")
def site() -> Iterator[ValkeySite]:
    site = ValkeySite()
    yield site
    site.close()


@pytest.fixture
def fleet(site: ValkeySite, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(site, tmp_path, size=300)
    yield fleet
    fleet.retire()


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_is_killed_at_a_named_moment(fleet: Fleet, moment: str) -> None:
    folder = str(fleet.coordinator.folder)
    arguments = ("run", f"{WORKLOADS}:noted", "i=range(0,300)", "--out", folder, "--run-id", "r", "--workers", "0")
    environment = {**os.environ, "TTG_HOME": str(fleet.coordinator.home), **fleet.environment}
    command = [sys.executable, STAGE, moment, "1", *arguments, "--chunk-size", "10", "--broker", fleet.site.url]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as doomed:
        fleet.join(1)
        assert doomed.wait(60) == -signal.SIGKILL
    fleet.resume().finish(repeats_of=None)


def test_a_full_disk_is_waited_for(fleet: Fleet) -> None:
    """The limit on the size of files stands for the disk: it can be lifted from outside while the process waits."""
    fleet.run("--chunk-size", "10")
    eventually(lambda: "waiting for workers" in fleet.coordinator.said(), "the run has begun")
    pid = fleet.coordinator.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1_200, resource.RLIM_INFINITY))
    fleet.join(2)
    eventually(lambda: "waiting" in fleet.coordinator.said(), f"it waits: {fleet.coordinator.said()}")
    assert not list((fleet.coordinator.folder / "results").glob("*.parquet"))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    fleet.finish()
