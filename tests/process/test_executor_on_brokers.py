"""``ttg.Executor`` with workers that were started elsewhere, on Valkey and RabbitMQ; ``FAULT_ROUNDS=20`` repeats."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from uuid import uuid4

import call_workloads as calls
import pytest
from tests.process.sites import RabbitMQSite, Site, ValkeySite

import ttg
from runs import TtgRun, children_of, eventually
from ttg.errors import ProcessDied

ROUNDS = range(int(os.environ.get("FAULT_ROUNDS", "1")))
HERE = str(Path(__file__).parent)
SECRET = "only these know it"  # noqa: S105

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=["valkey", "rabbitmq"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    rabbitmq = request.param == "rabbitmq"
    site: Site = RabbitMQSite(request.getfixturevalue("rabbitmq")) if rabbitmq else ValkeySite()
    yield site
    site.close()


class Elsewhere:
    """Workers for the calls of this process."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.namespace = f"e{uuid4().hex[:8]}"
        self.workers: list[TtgRun] = []

    def join(self, secret: str = SECRET) -> TtgRun:
        home = self.folder / f"w{len(self.workers)}"
        home.mkdir()
        environment = {
            "TTG_NAMESPACE": self.namespace,
            "TTG_SECRET": secret,
            "TTG_LEASE_SECONDS": "2",
            "PYTHONPATH": HERE,
        }
        worker = TtgRun(self.folder / "run", home, environment)
        self.workers.append(worker.start("worker", "--broker", self.site.url, "--name", home.name, "--slots", "2"))
        return worker

    def retire(self) -> None:
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.process.wait()


@pytest.fixture
def elsewhere(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    found = Elsewhere(site, tmp_path)
    monkeypatch.setenv("TTG_SECRET", SECRET)
    monkeypatch.setenv("TTG_NAMESPACE", found.namespace)
    monkeypatch.setenv("TTG_LEASE_SECONDS", "2")
    yield found
    found.retire()


@pytest.mark.parametrize("turn", ROUNDS)
def test_every_future_ends_right_when_a_child_and_a_worker_are_killed(elsewhere: Elsewhere, turn: int) -> None:
    done = elsewhere.folder / "done"
    done.mkdir()
    first, second = elsewhere.join(), elsewhere.join()
    with ttg.Executor(broker=elsewhere.site.url) as executor:
        futures = {executor.submit(calls.slow_square, x, 0.02, str(done)): x for x in range(300)}
        found, died = {}, []
        for number, future in enumerate(as_completed(futures, timeout=120)):
            if number == 30:
                os.kill(children_of(first.pid)[0], signal.SIGKILL)
            if number == 90:
                os.kill(second.pid, signal.SIGKILL)
            if future.exception() is None:
                found[futures[future]] = future.result()
            else:
                died.append(future)
    assert found == {x: x * x for x in found}
    assert all(isinstance(future.exception(), ProcessDied) for future in died), died
    assert len(died) <= 1  # the call that the child was killed in
    assert len(found) + len(died) == 300


def test_calls_of_whoever_does_not_know_the_secret_are_not_executed(elsewhere: Elsewhere) -> None:
    worker = elsewhere.join(secret="another one")
    executor = ttg.Executor(broker=elsewhere.site.url)
    marker = elsewhere.folder / "executed"
    future = executor.submit(marker.touch)
    eventually(lambda: "refused" in worker.said(), "the refusal")
    assert not marker.exists()
    executor.shutdown(wait=False, cancel_futures=True)
    elsewhere.join()
    assert future.result(60) is None
    assert marker.exists()
    executor.shutdown()
