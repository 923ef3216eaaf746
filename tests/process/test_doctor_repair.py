"""``ttg doctor --repair`` on a real node whose queues serve nobody, with runs that wait for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from tests.process.fleet import Fleet

from rabbitmq_server import SecureRabbitMQ
from runs import eventually
from ttg.cli import main

Said = pytest.CaptureFixture[str]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    name = f"d{uuid4().hex[:8]}"
    monkeypatch.setenv("TTG_NAMESPACE", name)
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    return name


@pytest.fixture
def url(rabbitmq: SecureRabbitMQ) -> str:
    """Without the promise that it is a single node: there TTG replaces queues by itself."""
    return re.sub(r"\?nodes=1&?", "?", rabbitmq.url)


@pytest.fixture
def fleet(rabbitmq: SecureRabbitMQ, url: str, namespace: str, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(cast(Any, SimpleNamespace(name="rabbitmq", url=url)), tmp_path, size=4000, namespace=namespace)
    yield fleet
    fleet.retire()


def doctor(url: str, *options: str) -> int:
    return main(["doctor", "--broker", url, *options])


def lose_process(node: SecureRabbitMQ, queue: str, *, cut: bool = False) -> None:
    """What a crash during the declaration leaves behind: the record on disk, and nobody who looks after it. ``cut``:
    everybody who was connected to it lost the connection."""
    name = f'rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)'
    cutting = ', [rabbit_networking:close_connection(P, "lost") || P <- rabbit_networking:connections()]' if cut else ""
    asyncio.run(node.control("eval", f"mnesia:dirty_delete(rabbit_queue, {name}){cutting}."))


def test_nothing_is_done_on_a_healthy_broker(url: str, rabbitmq: SecureRabbitMQ, namespace: str, capsys: Said) -> None:
    rabbitmq.create(f"{namespace}.tasks", b"1", **{"x-queue-type": "quorum", "x-delivery-limit": 1_000_000})
    assert doctor(url, "--repair", "--force") == 0
    assert "nothing to repair: no queue of TTG's is without service" in capsys.readouterr().err
    assert rabbitmq.contents(f"{namespace}.tasks") == [b"1"]
    rabbitmq.delete(f"{namespace}.tasks")


def test_a_queue_with_other_arguments_is_replaced_only_when_somebody_says_so(
    url: str, rabbitmq: SecureRabbitMQ, namespace: str, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = f"{namespace}.tasks"
    rabbitmq.create(tasks, b"1", b"2", **{"x-queue-type": "classic"})
    assert doctor(url) == 3
    assert "`ttg doctor --repair` says what is lost" in capsys.readouterr().out
    assert doctor(url, "--repair") == 2
    said = capsys.readouterr().err
    assert f"{tasks} is replaced, and 2 messages or more in it are lost" in said
    assert "cannot ask without a terminal: use --force to replace" in said
    for answer, left in (("n", [b"1", b"2"]), ("y", [])):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("builtins.input", lambda _question, answer=answer: answer)
        assert doctor(url, "--repair") == (0 if answer == "y" else 3)
        assert rabbitmq.contents(tasks) == left
    assert f"made anew: {tasks}\n" in capsys.readouterr().err
    rabbitmq.delete(tasks)


def test_a_run_that_waits_for_a_lost_stream_goes_on_with_its_successor(
    fleet: Fleet, url: str, rabbitmq: SecureRabbitMQ, namespace: str, capsys: Said
) -> None:
    fleet.run("--chunk-size", "10").join(2).wait_for_calls(50)
    lose_process(rabbitmq, f"{namespace}.results", cut=True)
    eventually(lambda: fleet.story().count("home node") >= 2, "coordinator and workers wait")
    assert doctor(url) == 3
    assert f"{namespace}.results serves nobody" in capsys.readouterr().out
    assert doctor(url, "--repair", "--force") == 0
    assert f"made anew: {namespace}.results.2\n" in capsys.readouterr().err
    fleet.finish(repeats_of=None)


def test_a_lost_work_queue_cannot_be_replaced_from_here_and_who_can_is_said(
    url: str, rabbitmq: SecureRabbitMQ, namespace: str, capsys: Said
) -> None:
    tasks = f"{namespace}.tasks"
    rabbitmq.create(tasks, b"1", **{"x-queue-type": "classic"})
    lose_process(rabbitmq, tasks)
    assert doctor(url, "--repair", "--force") == 3
    said = capsys.readouterr().err
    assert f"{tasks} cannot be replaced from here" in said
    assert "forget_cluster_node" in said
    assert "nothing to repair from here" in said


def test_force_alone_is_no_option(capsys: Said) -> None:
    assert main(["doctor", "--force"]) == 2
    assert "--force goes with --repair" in capsys.readouterr().err
