"""Faults of processes, network and broker, on Valkey and RabbitMQ, each followed by the oracle.

``FAULT_ROUNDS=20`` repeats each; ``FAULT_REPORT=file`` collects the figures.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_workloads import POISONS, value
from tests.process.fleet import Fleet
from tests.process.sites import GARBAGE, OVERSIZED, RabbitMQSite, Site, ValkeySite

from runs import apply_oracle, dead_on_disk, descendants_of, eventually, is_running

ROUNDS = range(int(os.environ.get("FAULT_ROUNDS", "1")))
BOTH = ["valkey", "rabbitmq"]
ALL = ["valkey", "valkey-always", "rabbitmq"]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    site = _site(request)
    yield site
    site.close()


def _site(request: pytest.FixtureRequest) -> Site:
    if request.param == "rabbitmq":
        return RabbitMQSite(request.getfixturevalue("rabbitmq"))
    return ValkeySite(request.param, *(("--appendfsync", "always") if request.param == "valkey-always" else ()))


@pytest.fixture
def fleet(site: Site, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(site, tmp_path)
    yield fleet
    fleet.retire()


def on(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("site", names, indirect=True, scope="module")


rounds = pytest.mark.parametrize("turn", ROUNDS)


def by_silent(fleet: Fleet, pids: list[int]) -> list[int] | None:
    """Whose calls are repeated when a worker falls silent: its own. RabbitMQ does not say in time what somebody holds,
    so there its tasks may be taken for lost, and be submitted again besides."""
    return pids if fleet.site.name.startswith("valkey") else None


# ---------------------------------------------------------------------------------------------- processes


@on(*BOTH)
@rounds
def test_a_worker_killed_in_the_middle_of_a_chunk_costs_at_most_a_checkpoint(fleet: Fleet, turn: int) -> None:
    fleet.run("--chunk-size", "300", "--checkpoint", "500ms").join(2).wait_for_calls(60 + 30 * turn)
    began, doomed = time.time(), fleet.slots_of(fleet.workers[0])
    os.kill(fleet.workers[0].pid, signal.SIGKILL)
    fleet.finish(repeats_of=doomed).note("worker killed", began)
    lost = [calls for calls in fleet.executed_again().values() if calls[0].at <= began]
    assert 0.005 * len(lost) <= 1.0


@on(*BOTH)
def test_sigterm_gives_the_rest_back_and_charges_nobody(fleet: Fleet) -> None:
    fleet.run("--chunk-size", "300").join(2).wait_for_calls(60)
    began = time.time()
    os.kill(fleet.workers[0].pid, signal.SIGTERM)
    assert fleet.workers[0].wait(10.0) == 75, fleet.story()
    summary = fleet.summary_of(fleet.workers[0])
    assert (summary["status"], summary["exit_code"], summary["parameters_failed"]) == ("drained", 75, 0)
    assert summary["parameters_processed"] > 0
    fleet.finish().note("worker told to leave", began)
    assert not fleet.executed_again(), "a drain wastes nothing"


@on(*BOTH)
def test_a_second_sigterm_ends_at_once_and_loses_nothing(fleet: Fleet) -> None:
    fleet.run("--chunk-size", "300").join(2, "--grace", "60s").wait_for_calls(60)
    began, doomed = time.time(), fleet.slots_of(fleet.workers[0])
    for _ in range(2):
        os.kill(fleet.workers[0].pid, signal.SIGTERM)
    assert fleet.workers[0].wait(10.0) != 0
    fleet.finish(repeats_of=doomed).note("worker told twice to leave", began)


@on(*BOTH)
def test_a_zombie_is_counted_once(fleet: Fleet) -> None:
    fleet.run("--chunk-size", "150", "--checkpoint", "500ms").join(2).wait_for_calls(60)
    began, zombie = time.time(), fleet.workers[0].pid
    frozen = [zombie, *descendants_of(zombie)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: len({call.index for call in fleet.calls()}) == fleet.size, "the others do what it held")
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    fleet.finish(repeats_of=by_silent(fleet, frozen)).note("worker frozen beyond its lease", began)


@on(*BOTH)
@rounds
def test_every_poison_hits_only_itself(fleet: Fleet, turn: int) -> None:
    fleet.size = 120
    limits = ("--timeout", "1s", "--memory", "300M", "--retries", "1", "--chunk-size", "40")
    fleet.run(*limits, function="poisoned").join(2)
    fleet.finish(code=5)
    apply_oracle(fleet.coordinator.folder, fleet.size, value, dead=set(POISONS))
    kinds = {letter["index"]: letter["kind"] for letter in dead_on_disk(fleet.coordinator.folder)}
    expected = {"exception": "exception", "exit": "exit", "segfault": "signal", "endless loop": "timeout"}
    expected |= {"memory": "memory", "unencodable": "encoding", "os._exit": "exit", "fork and linger": "exit"}
    assert {index: kinds[index] for index in kinds if POISONS[index] in expected} == {
        index: expected[poison] for index, poison in POISONS.items() if poison in expected
    }
    letters = dead_on_disk(fleet.coordinator.folder)
    assert all(letter["attempts"] == (1 if letter["kind"] == "encoding" else 2) for letter in letters)
    fleet.note("poisoned parameters", time.time())


# ---------------------------------------------------------------------------------------------- the network


@on(*BOTH)
def test_a_half_open_network_is_taken_over_by_lease(fleet: Fleet) -> None:
    proxy = fleet.site.proxy()
    try:
        fleet.run("--chunk-size", "150", "--checkpoint", "500ms").join(1)
        fleet.join(1, url=fleet.site.url_through(proxy)).wait_for_calls(100)
        began, cut_off = time.time(), fleet.slots_of(fleet.workers[1])
        proxy.freeze()
        fleet.finish(repeats_of=by_silent(fleet, cut_off)).note("half-open network", began)
        proxy.thaw()
    finally:
        fleet.retire()
        proxy.close()


@on(*BOTH)
@rounds
def test_replies_lost_after_execution_are_not_counted_twice(fleet: Fleet, turn: int) -> None:
    proxy = fleet.site.proxy()
    proxy.marker = fleet.site.settle_marker
    try:
        fleet.run("--chunk-size", "20").join(2, url=fleet.site.url_through(proxy)).wait_for_calls(60)
        began = time.time()
        proxy.swallow = 5
        fleet.finish(repeats_of=None).note("reply lost after execution", began)
        assert proxy.swallowed > 0
    finally:
        fleet.retire()
        proxy.close()


@on(*BOTH)
def test_a_slow_broker_slows_down_and_nothing_else(fleet: Fleet) -> None:
    proxy = fleet.site.proxy()
    proxy.delay_seconds = 0.1
    try:
        url = fleet.site.url_through(proxy)
        fleet.run("--chunk-size", "50", url=url).join(2, url=url)
        fleet.finish().note("slow broker", time.time())
    finally:
        fleet.retire()
        proxy.close()


# ---------------------------------------------------------------------------------------------- the broker


@on(*ALL)
@rounds
def test_the_broker_crashes_under_load(fleet: Fleet, turn: int) -> None:
    fleet.run("--chunk-size", "10").join(2).wait_for_calls(60 + 40 * turn)
    began = time.time()
    fleet.site.crash()
    fleet.site.restart()
    fleet.finish(repeats_of=None).note("broker killed and restarted", began)


@on(*BOTH)
@rounds
def test_a_stranger_deletes_everything(fleet: Fleet, turn: int) -> None:
    fleet.run("--chunk-size", "10").join(2).wait_for_calls(60 + 40 * turn)
    began = time.time()
    fleet.site.lose(fleet.namespace)
    fleet.finish(repeats_of=None).note("everything deleted in the broker", began)


@on(*BOTH)
def test_the_broker_is_full_for_a_while(fleet: Fleet) -> None:
    fleet.size = 5_000
    fleet.run("--chunk-size", "10").join(2).wait_for_calls(60)
    began = time.time()
    fleet.site.fill()
    try:
        eventually(lambda: _somebody_waits(fleet), f"somebody notices: {fleet.story()}")
    finally:
        fleet.site.make_room()
    fleet.finish().note("broker full", began)


def _somebody_waits(fleet: Fleet) -> bool:
    return any("waiting" in worker.said() or "no messages" in worker.said() for worker in fleet.workers)


@on(*BOTH)
def test_strangers_messages_on_every_queue_stop_nobody(fleet: Fleet) -> None:
    fleet.run("--chunk-size", "10").join(2).wait_for_calls(60)
    began = time.time()
    fleet.site.strew(fleet.namespace, (*GARBAGE, OVERSIZED))
    fleet.finish().note("malformed messages", began)
    assert fleet.site.count(f"{fleet.namespace}.tasks.dlq") > 0, "what is no task is quarantined"
    for worker in fleet.workers:
        assert worker.wait(30.0) == 0, fleet.story()


# ---------------------------------------------------------------------------------------------- the coordinator


@on(*BOTH)
@rounds
def test_the_coordinator_is_killed_and_the_run_resumed(fleet: Fleet, turn: int) -> None:
    fleet.run("--chunk-size", "10").join(2).wait_for_calls(60 + 40 * turn)
    began = time.time()
    fleet.coordinator.kill()
    fleet.resume().finish(repeats_of=None).note("coordinator killed", began)


@on("valkey")
def test_nothing_stays_behind_when_the_run_is_over(fleet: Fleet) -> None:
    fleet.run("--chunk-size", "20").join(2).finish()
    for worker in fleet.workers:
        assert worker.wait(30.0) == 0, fleet.story()
        assert not is_running(worker.pid)
