"""Whole runs on RabbitMQ: faults, figures of the broker's own tools, TLS, and the same table as on Redis.

`FAULT_ROUNDS=20` repeats the faults with other moments; `--junitxml` then has the measured seconds of each round.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from workloads import value

from rabbitmq_server import SecureRabbitMQ
from runs import TtgRun, apply_oracle, command_of, dead_on_disk, descendants_of, eventually, is_running
from tools import need_program

WORKLOADS = str(Path(__file__).with_name("workloads.py"))
ROUNDS = range(int(os.environ.get("FAULT_ROUNDS", "1")))
SIZE = 2000

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def node(rabbitmq: SecureRabbitMQ) -> SecureRabbitMQ:
    return rabbitmq


@pytest.fixture
def rabbit(ttg: TtgRun, node: SecureRabbitMQ) -> TtgRun:
    """A run to be started, with a namespace of its own on the node."""
    ttg.environment = {
        "TTG_NAMESPACE": f"r{uuid4().hex[:8]}",
        "TTG_BROKER": node.url,
        "CALLS_FILE": str(ttg.home / "calls"),
    }
    return ttg


def start(run: TtgRun, *more: str, function: str = "slow", size: int = SIZE) -> TtgRun:
    arguments = ("--workers", "2", "--chunk-size", "50", "--out", str(run.folder), *more)
    return run.start("run", f"{WORKLOADS}:{function}", f"i=range(0,{size})", *arguments)


def resume(run: TtgRun) -> None:
    again = TtgRun(run.folder, run.home, run.environment)
    assert again.start("resume", str(run.folder), "--workers", "2").wait() == 0, again.said()


def calls_of(run: TtgRun) -> int:
    calls = run.home / "calls"
    return calls.stat().st_size if calls.exists() else 0


def wait_for_progress(run: TtgRun, seed: int) -> None:
    """Until a random number of calls was made: at least several chunks, at most half of the run."""
    calls = random.Random(seed).randint(300, SIZE // 2)
    eventually(lambda: calls_of(run) >= calls, f"{calls} calls")


def finish(run: TtgRun, size: int = SIZE) -> None:
    assert run.wait() == 0, run.said()
    apply_oracle(run.folder, size, value, dead=set())


def queues(run: TtgRun, node: SecureRabbitMQ) -> dict[str, int]:
    """Messages of each queue, as ``rabbitmqctl`` says."""
    rows = asyncio.run(node.queues(run.environment["TTG_NAMESPACE"]))
    return {name: row["messages"] for name, row in rows.items()}


# ---------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
@pytest.mark.parametrize("seed", ROUNDS)
def test_a_worker_is_killed(rabbit: TtgRun, seed: int, queue_type: str) -> None:
    rabbit.environment = {**rabbit.environment, "RABBITMQ_QUEUE_TYPE": queue_type}
    start(rabbit, "--no-replace")
    wait_for_progress(rabbit, seed)
    os.kill(random.Random(seed).choice(rabbit.workers()), signal.SIGKILL)
    finish(rabbit)


@pytest.mark.parametrize("seed", ROUNDS)
def test_an_idle_worker_takes_over_at_once(
    rabbit: TtgRun, seed: int, record_property: Callable[[str, object], None]
) -> None:
    start(rabbit, "--no-replace", "--chunk-size", str(SIZE), "--checkpoint", "60s")
    wait_for_progress(rabbit, seed)
    busy = max(rabbit.workers(), key=lambda pid: sum(map(_cpu_ticks, descendants_of(pid))))
    os.kill(busy, signal.SIGKILL)
    killed, calls = time.monotonic(), calls_of(rabbit)
    eventually(lambda: calls_of(rabbit) > calls + 5, "another worker goes on")
    record_property("takeover_seconds", round(time.monotonic() - killed, 3))
    finish(rabbit)


def _cpu_ticks(pid: int) -> int:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


@pytest.fixture
def impatient(node: SecureRabbitMQ) -> Iterator[int]:
    """The node's acknowledgement timeout, in seconds, of channels opened from now on."""
    for setting, milliseconds in (("consumer_timeout", 3000), ("channel_tick_interval", 250)):
        asyncio.run(node.set(setting, milliseconds))
    yield 3
    for setting, milliseconds in (("consumer_timeout", 1_800_000), ("channel_tick_interval", 60_000)):
        asyncio.run(node.set(setting, milliseconds))


def test_a_call_beyond_the_acknowledgement_timeout_is_executed_once_for_each_worker_that_dies(
    rabbit: TtgRun, node: SecureRabbitMQ, impatient: int
) -> None:
    url = f"{node.url}&consumer_timeout={impatient}"
    rabbit.environment = {**rabbit.environment, "TTG_BROKER": url, "TTG_LEASE_SECONDS": "3"}
    start(rabbit, "--no-replace", "--chunk-size", "1", function="awaited", size=20)
    calls = rabbit.home / "calls"

    def holders(count: int) -> list[int]:
        lines = calls.read_text().splitlines() if calls.exists() else []
        return list(map(int, lines)) if len(lines) >= count else []

    (holder,) = eventually(lambda: holders(1), "the long call")
    until = time.monotonic() + 3 * impatient
    eventually(lambda: holders(2) or time.monotonic() > until, "three timeouts")
    assert holders(1) == [holder], rabbit.said()
    os.kill(holder, signal.SIGKILL)
    _, other = eventually(lambda: holders(2), "another worker has it")
    until = time.monotonic() + 2 * impatient
    eventually(lambda: holders(3) or time.monotonic() > until, "two timeouts")
    calls.with_name("calls.go").touch()
    finish(rabbit, 20)
    assert holders(2) == [holder, other]
    assert "submitting what is missing again" not in rabbit.said()
    assert not any("longer than RabbitMQ allows" in log.read_text() for log in (rabbit.folder / "logs").iterdir())


@pytest.mark.parametrize("seed", ROUNDS)
def test_the_node_is_killed_and_restarted_under_load(
    rabbit: TtgRun, node: SecureRabbitMQ, seed: int, record_property: Callable[[str, object], None]
) -> None:
    start(rabbit, "--chunk-size", "10")
    wait_for_progress(rabbit, seed)
    killed = time.monotonic()
    asyncio.run(node.crash_and_restart())
    record_property("outage_seconds", round(time.monotonic() - killed, 3))
    finish(rabbit)
    record_property("finished_after_seconds", round(time.monotonic() - killed, 3))


def test_the_coordinator_is_killed_and_the_run_resumed(rabbit: TtgRun) -> None:
    start(rabbit)
    wait_for_progress(rabbit, 1)
    below = descendants_of(rabbit.pid)
    rabbit.kill()
    eventually(lambda: not [command_of(pid) for pid in below if is_running(pid)], "no orphan stays behind")
    resume(rabbit)
    apply_oracle(rabbit.folder, SIZE, value, dead=set())


def test_ctrl_c_drains_and_the_run_can_be_resumed(rabbit: TtgRun) -> None:
    start(rabbit)
    wait_for_progress(rabbit, 2)
    below = descendants_of(rabbit.pid)
    os.kill(rabbit.pid, signal.SIGINT)
    assert rabbit.wait() == 4, rabbit.said()
    eventually(lambda: not [command_of(pid) for pid in below if is_running(pid)], "no process stays behind")
    assert 0 < rabbit.info()["done"] < SIZE
    resume(rabbit)
    apply_oracle(rabbit.folder, SIZE, value, dead=set())


# ---------------------------------------------------------------------------------------------- outcomes


def test_failures_wait_in_the_retry_queue_and_end_among_the_dead_letters(rabbit: TtgRun, node: SecureRabbitMQ) -> None:
    rabbit.environment = {**rabbit.environment, "ATTEMPTS_FILE": str(rabbit.home / "attempts")}
    start(rabbit, "--retries", "1", "--retry-delay", "12s", function="picky", size=200)
    waiting = eventually(lambda: _while_retrying(rabbit, node), "something waits for its retry")
    assert waiting["tasks.retry"] == 2
    assert waiting["tasks.dlq"] == 0
    assert rabbit.wait() == 5, rabbit.said()
    apply_oracle(rabbit.folder, 200, value, dead={7, 107})
    assert {letter["attempts"] for letter in dead_on_disk(rabbit.folder)} == {2}
    last = {"tasks": 0, "tasks.retry": 0, "tasks.dlq": 2, "results": 4 + 2}
    eventually(lambda: last.items() <= queues(rabbit, node).items(), "rabbitmqctl, seconds behind, comes to the end")


def _while_retrying(run: TtgRun, node: SecureRabbitMQ) -> dict[str, int]:
    found = queues(run, node)
    return found if found.get("tasks.retry") else {}


def test_the_same_sweep_gives_the_same_bytes_on_both_brokers(rabbit: TtgRun) -> None:
    embedded = TtgRun(rabbit.folder.with_name("embedded"), rabbit.home)
    for run, chunk_size in ((rabbit, "37"), (embedded, "50")):
        start(run, "--chunk-size", chunk_size, "--retries", "1", "--retry-delay", "100ms", "--seed", "5",
              function="mixed", size=400)  # fmt: skip
        assert run.wait() == 5, run.said()
    assert table_bytes(rabbit.folder / "results") == table_bytes(embedded.folder / "results")
    assert table_bytes(rabbit.folder / "dead") == table_bytes(embedded.folder / "dead")


def table_bytes(folder: Path) -> bytes:
    """The table as an Arrow file, in the order of the index, without what must differ: who, when and how long."""
    table = ds.dataset(folder, format="parquet").to_table()
    same = table.drop_columns([name for name in ("seconds", "worker", "at") if name in table.column_names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, same.schema) as file:
        file.write_table(same.sort_by("index").combine_chunks())
    return bytes(sink.getvalue())


def test_the_environment_alone_chooses_the_broker(rabbit: TtgRun, node: SecureRabbitMQ) -> None:
    chosen = {
        "QUEUE_BACKEND": "rabbitmq",
        "RABBITMQ_HOST": "127.0.0.1",
        "RABBITMQ_PORT": str(node.port),
        "RABBITMQ_USER": node.user,
        "RABBITMQ_PASSWORD": node.password,
        "RABBITMQ_VHOST": "/",
    }
    kept = {name: text for name, text in rabbit.environment.items() if name != "TTG_BROKER"}
    rabbit.environment = {**kept, **chosen}
    start(rabbit, "--workers", "0", "--run-id", "chosen", "--chunk-size", "200")
    home = rabbit.home / "worker"
    home.mkdir()
    worker = TtgRun(rabbit.folder, home, rabbit.environment).start("worker", "--allow", "*", "--until-run", "chosen")
    finish(rabbit)
    assert worker.wait() == 0, worker.said()
    assert '"backend": "rabbitmq"' in worker.said()
    eventually(lambda: queues(rabbit, node)["results"] == SIZE / 200, "a message per chunk stays")


# ---------------------------------------------------------------------------------------------- TLS


def test_a_run_over_tls_with_an_authority_of_ones_own(rabbit: TtgRun, node: SecureRabbitMQ) -> None:
    need_program("openssl", install="openssl")
    assert node.certificates is not None
    secure = {"TTG_BROKER": node.tls_url, "TTG_CA_FILE": str(node.certificates.authority)}
    rabbit.environment = {**rabbit.environment, **secure}
    start(rabbit, function="value")
    finish(rabbit)


def test_a_certificate_of_an_unknown_authority_is_refused(rabbit: TtgRun, node: SecureRabbitMQ) -> None:
    need_program("openssl", install="openssl")
    rabbit.environment = {**rabbit.environment, "TTG_BROKER": node.tls_url}
    assert start(rabbit, function="value").wait() == 3, rabbit.said()
    assert "TTG_CA_FILE" in rabbit.said()
    assert node.password not in rabbit.said()
