"""Results by reference, when what they refer to is damaged, gone, or nobody's: they are computed again, and counted
once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from workloads import large

from rabbitmq_server import SecureRabbitMQ
from runs import TtgRun, apply_oracle, eventually
from s3_server import CREDENTIALS, S3Server
from servers import RedisServer, valkey_program
from tools import need_program

WORKLOADS = str(Path(__file__).with_name("workloads.py"))
SIZE, KILOBYTES = 60, 200


@pytest.fixture(scope="module", params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """Its address; nothing for the embedded one."""
    if request.param == "rabbitmq":
        node: SecureRabbitMQ = request.getfixturevalue("rabbitmq")
        yield node.url
    elif request.param == "valkey":
        server = RedisServer(valkey_program()).start()
        yield server.url
        server.close()
    else:
        yield ""


@pytest.fixture
def ttg(ttg: TtgRun, broker: str) -> TtgRun:
    named = {"TTG_BROKER": broker, "TTG_NAMESPACE": f"s{uuid4().hex[:8]}"}
    ttg.environment = named if broker else {}
    return ttg


def on(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker", names, indirect=True, scope="module")


def another(ttg: TtgRun) -> TtgRun:
    """Another command about the same run."""
    return TtgRun(ttg.folder, ttg.home, ttg.environment)


def start(ttg: TtgRun, *more: str) -> None:
    arguments = (f"i=range(0,{SIZE})", f"kilobytes={KILOBYTES}", "--chunk-size", "1", "--out", str(ttg.folder))
    ttg.start("run", f"{WORKLOADS}:large", *arguments, "--workers", "1", *more)


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def finish(ttg: TtgRun) -> None:
    """The oracle; and what nobody collected is gone."""
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, SIZE, lambda i: large(i, KILOBYTES), dead=set())
    assert not (ttg.folder / "store").exists()


def objects_in(store: Path) -> set[Path]:
    return set(store.glob("?" * 32)) if store.exists() else set()


def signal_to(number: int, *pids: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def stop_before(ttg: TtgRun, count: int, store: Path | None = None) -> list[Path]:
    """Stop the coordinator; so many objects that it has not seen."""
    store = store or ttg.folder / "store"
    eventually(lambda: objects_in(store), "the first result in the store")
    signal_to(signal.SIGSTOP, ttg.pid)
    seen = objects_in(store)

    def waiting() -> list[Path]:
        new = sorted(objects_in(store) - seen)
        return new if len(new) >= count else []

    return eventually(waiting, f"{count} results that wait")


def test_a_worker_killed_between_writing_and_settling_leaves_nothing(ttg: TtgRun) -> None:
    start(ttg)
    eventually(lambda: objects_in(ttg.folder / "store"), "the first result in the store")
    worker = ttg.workers()
    signal_to(signal.SIGSTOP, *worker)
    seen = objects_in(ttg.folder / "store")
    eventually(lambda: objects_in(ttg.folder / "store") - seen, "a result of which nobody knows")
    signal_to(signal.SIGKILL, *worker)
    finish(ttg)


@pytest.mark.parametrize("damage", ["of objects", "of the store"])
def test_what_cannot_be_read_is_computed_again_at_once(ttg: TtgRun, damage: str) -> None:
    start(ttg)
    cut, changed, *removed = stop_before(ttg, 3)
    if damage == "of the store":
        shutil.rmtree(ttg.folder / "store")
    else:
        os.truncate(cut, 1000)
        changed.write_bytes(bytes(changed.stat().st_size))
        removed[0].unlink()
    signal_to(signal.SIGCONT, ttg.pid)
    finish(ttg)
    assert "cannot be read, and is computed again" in ttg.said()
    assert "submitting what is missing again" not in ttg.said(), "that would be seconds later"


@on("embedded", "valkey", "rabbitmq")
def test_a_killed_coordinators_results_wait_in_the_store(ttg: TtgRun) -> None:
    start(ttg)
    stop_before(ttg, 2)
    ttg.kill()
    again = another(ttg)
    again.start("resume", str(ttg.folder), "--workers", "1")
    finish(again)
    assert "computed again" not in again.said()


def test_a_shared_folder_that_goes_away_is_waited_for_and_left_empty(ttg: TtgRun, tmp_path: Path) -> None:
    shared, away = tmp_path / "shared", tmp_path / "away"
    shared.mkdir()
    start(ttg, "--store", str(shared))
    place = eventually(lambda: next(shared.iterdir(), None), "the run's place in the store")
    assert place is not None
    stop_before(ttg, 2, place)
    shared.rename(away)
    signal_to(signal.SIGCONT, ttg.pid)
    eventually(lambda: "waiting: expected a folder" in ttg.said(), "the coordinator waits")
    away.rename(shared)
    finish(ttg)
    assert "computed again" not in ttg.said()
    assert is_empty(shared)


@on("embedded")  # of a shared one, its lease would have to end first
def test_cleanup_takes_what_an_interrupted_run_left_in_a_shared_folder(ttg: TtgRun, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    start(ttg, "--store", str(shared))
    place = eventually(lambda: next(shared.iterdir(), None), "the run's place in the store")
    assert place is not None
    stop_before(ttg, 1, place)
    ttg.kill()
    assert objects_in(place)
    cleanup = another(ttg)
    cleanup.start("cleanup", str(ttg.folder), "--force")
    assert cleanup.wait() == 0, cleanup.said()
    assert is_empty(shared)
    assert not ttg.folder.exists()


@on("embedded", "rabbitmq")
def test_results_pass_an_object_store_and_nothing_of_them_stays_there(ttg: TtgRun, s3: S3Server) -> None:
    place = s3.place()
    ttg.environment = {**ttg.environment, **CREDENTIALS}
    start(ttg, "--store", place)
    eventually(lambda: s3.objects(place), "a result in the bucket")
    finish(ttg)
    assert not s3.objects(place)


def start_in_tmpfs(ttg: TtgRun, store: Path, megabytes: int, size: int, kilobytes: int) -> None:
    """The store has so much room. Results of more than 15 MB are too large for a message."""
    store.mkdir()
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "$0" && exec "$@"'
    ttg.inside = (need_program("unshare", install="util-linux"), "-m", "sh", "-c", mount, str(store))
    if os.geteuid():
        ttg.inside = (ttg.inside[0], "-r", *ttg.inside[1:])
    arguments = (f"i=range(0,{size})", f"kilobytes={kilobytes}", "--out", str(ttg.folder), "--store", str(store))
    ttg.start("run", f"{WORKLOADS}:large", *arguments, "--workers", "2", "--chunk-size", "1", "--retries", "0")


def test_a_full_store_is_waited_for_and_costs_nobody_an_attempt(ttg: TtgRun, tmp_path: Path) -> None:
    """It has room for two of the results."""
    size, kilobytes = 8, 16_000
    start_in_tmpfs(ttg, tmp_path / "shared", 36, size, kilobytes)
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, size, lambda i: large(i, kilobytes), dead=set())
    logs = "".join(log.read_text() for log in (ttg.folder / "logs").iterdir())
    assert "waiting with a result of 15.6 MiB: cannot use the store" in logs, "it was never full"


@on("embedded")
def test_what_waits_for_the_store_is_in_the_progress_and_is_given_back_at_the_end(ttg: TtgRun, tmp_path: Path) -> None:
    start_in_tmpfs(ttg, tmp_path / "shared", 9, 2, 16_000)
    waits = "is waiting with a result of 15.6 MiB: cannot use the store"
    eventually(lambda: waits in ttg.said(), "it has no room for any of them")
    assert "free some space there, and it goes on" in ttg.said()
    signal_to(signal.SIGTERM, ttg.pid)
    assert ttg.wait() == 4, ttg.said()
    assert ttg.info()["done"] == ttg.info()["dead"] == 0
