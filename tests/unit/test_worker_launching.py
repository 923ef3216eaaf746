"""Starting a child: where that fails, and with which share of the machine."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from pathlib import Path

import pytest

from ttg.errors import SettingsError
from ttg.run.local_workers import WorkerCommand
from ttg.worker.launching import Process, launch
from ttg.worker.shares import CUDA, HIP, ROCR, THREAD_COUNTS, Shares


def no_process(descriptors: Sequence[int], output: int, environment: dict[str, str]) -> Process:
    raise BlockingIOError("no process left")


@pytest.mark.parametrize("backend", ["", "redis"])
def test_what_lets_us_in_is_not_in_a_child_s_environment(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password may be the function's own, unless it is said to be the broker's."""
    given = ["TTG_BROKER", "TTG_SECRET", "TTG_CREDENTIALS_COMMAND", "REDIS_PASSWORD", "RABBITMQ_PASSWORD"]
    for name in given:
        monkeypatch.setenv(name, "secret")
    monkeypatch.delenv("QUEUE_BACKEND", raising=False)
    if backend:
        monkeypatch.setenv("QUEUE_BACKEND", backend)
    seen: dict[str, str] = {}

    def start(descriptors: Sequence[int], output: int, environment: dict[str, str]) -> Process:
        seen.update(environment)
        raise BlockingIOError

    with pytest.raises(BlockingIOError):
        launch(start)
    assert sorted(set(given) & set(seen)) == ([] if backend else ["RABBITMQ_PASSWORD", "REDIS_PASSWORD"])


def test_a_child_that_cannot_be_started_leaves_no_descriptor() -> None:
    """A worker tries again and again."""
    before = os.listdir("/dev/fd")
    with pytest.raises(BlockingIOError):
        launch(no_process)
    assert os.listdir("/dev/fd") == before


@pytest.mark.parametrize(
    ("given", "slot", "seen"),
    [
        ({}, 1, {CUDA: "1", HIP: "1"}),
        ({}, 3, {CUDA: "1", HIP: "1"}),  # more slots than GPUs: they share them
        ({CUDA: "4,6"}, 1, {CUDA: "6", HIP: "6"}),  # a job's of a batch system
        ({CUDA: "GPU-1a, GPU-2b"}, 0, {CUDA: "GPU-1a", HIP: "GPU-1a"}),
        ({ROCR: "2,5"}, 1, {CUDA: "1", ROCR: "5", HIP: "0"}),  # HIP counts what ROCR leaves
        ({CUDA: "2,5", ROCR: "2,5"}, 1, {CUDA: "5", ROCR: "5", HIP: "0"}),
    ],
)
def test_a_slot_sees_one_of_the_visible_gpus(given: dict[str, str], slot: int, seen: dict[str, str]) -> None:
    shares = Shares(None, 2, {"OMP_NUM_THREADS": "3", **given})
    assert shares.of(slot) == seen


@pytest.mark.parametrize("given", ["0", "", "-1"])
def test_gpus_that_are_not_there_are_not_promised(given: str) -> None:
    with pytest.raises(SettingsError, match=r"expected 2 GPUs .* leaves [01] visible: give fewer --gpus"):
        Shares(None, 2, {CUDA: given})


def test_local_workers_see_gpus_of_their_own(tmp_path: Path) -> None:
    command = WorkerCommand([], {ROCR: "4,5,6,7"}, tmp_path, gpus=2)
    environments = [command.environment_of(number) for number in (0, 1)]
    found = [(seen[ROCR], seen[HIP], seen[CUDA]) for seen in environments]
    assert found == [
        ("4,5", "0,1", "0,1"),
        ("6,7", "0,1", "2,3"),
    ]
    assert [Shares(None, 2, seen).of(1)[ROCR] for seen in environments] == ["5", "7"]


def test_threads_of_a_slot() -> None:
    assert Shares(None, 0, {}).of(0) == dict.fromkeys(THREAD_COUNTS, "1")
    assert Shares(None, 0, {"MKL_NUM_THREADS": "8"}).of(0) == {}, "the environment says otherwise"
    assert Shares(4, 0, {"MKL_NUM_THREADS": "8"}).of(0) == dict.fromkeys(THREAD_COUNTS, "4")


def test_what_cannot_be_launched_leaves_no_descriptor() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = _open_descriptors()
    free = sorted(set(range(len(before) + 7)) - before)
    for limit in free[:7]:  # so that there is room for none, for one, …, for all six
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            with pytest.raises(OSError, match=r"Too many open files|no process left"):
                launch(no_process)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert _open_descriptors() == before


def _open_descriptors() -> set[int]:
    found = {int(name) for name in os.listdir("/proc/self/fd")}
    return {number for number in found if os.path.exists(f"/proc/self/fd/{number}")}
