"""What a run needs of its workers: others on the same broker leave its tasks alone, and go on with other runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from tests.process.fleet import Fleet
from tests.process.sites import RabbitMQSite, Site, ValkeySite

from runs import TtgRun, eventually


@pytest.fixture(params=["valkey", "rabbitmq"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    site: Site = (
        RabbitMQSite(request.getfixturevalue("rabbitmq")) if request.param == "rabbitmq" else ValkeySite("valkey")
    )
    yield site
    site.close()


def test_tasks_wait_for_a_worker_that_has_it(site: Site, tmp_path: Path) -> None:
    folders = [tmp_path / "needy", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    needy, other = (Fleet(site, folder, size=100) for folder in folders)
    other.namespace = needy.namespace
    other.coordinator.environment = {**other.environment, "TTG_NAMESPACE": needy.namespace}
    try:
        needy.run("--needs", "gpu", "--needs", "mem=large", "--retries", "0").join(1, "--label", "gpu")
        eventually(lambda: "does not have the label mem=large: start one" in needy.coordinator.said(), needy.story())
        other.run("--run-id", "other").finish()
        assert not any((needy.coordinator.folder / "results").iterdir())
        needy.join(1, "--label", "gpu,mem=large").finish(repeats_of=None)  # "other" wrote to the same file
        rows = ds.dataset(needy.coordinator.folder / "results").to_table(columns=["attempt", "worker"])
        assert set(rows["attempt"].to_pylist()) == {1}
        assert set(rows["worker"].to_pylist()) == {"w1"}
    finally:
        for fleet in (needy, other):
            fleet.retire()


def test_a_machine_that_does_not_have_it_says_what_to_do(ttg: TtgRun) -> None:
    ttg.start("run", "math:sqrt", "x=1", "--needs", "gpu", "--workers", "2")
    assert ttg.wait() == 2
    assert "the workers of this machine do not have the label gpu" in ttg.said()
