"""`ttg cancel` ends a run as cancelled, also amid calls that take a minute, whatever broker it uses."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from rabbitmq_server import SecureRabbitMQ
from runs import TtgRun, eventually
from servers import RedisServer, valkey_program

WORKLOADS = str(Path(__file__).with_name("workloads.py"))


def cancel(ttg: TtgRun, **environment: str) -> None:
    calls = ttg.home / "calls"
    ttg.environment = {**environment, "TTG_NAMESPACE": f"c{uuid4().hex[:8]}", "CALLS_FILE": str(calls)}
    ttg.start("run", f"{WORKLOADS}:stuck", "i=range(0,9)", "--workers", "1", "--out", str(ttg.folder))
    eventually(calls.exists, "a call is under way")
    command = TtgRun(ttg.folder, ttg.home, ttg.environment)
    assert command.start("cancel", str(ttg.folder)).wait() == 0, command.said()
    assert ttg.wait(30) == 4, ttg.said()
    assert ttg.info()["state"] == "cancelled"
    assert "is cancelled" in command.said()


def test_embedded(ttg: TtgRun) -> None:
    cancel(ttg)


def test_redis(ttg: TtgRun) -> None:
    server = RedisServer(valkey_program()).start()
    try:
        cancel(ttg, TTG_BROKER=server.url)
    finally:
        server.close()


@pytest.mark.timeout(180)
def test_rabbitmq(ttg: TtgRun, rabbitmq: SecureRabbitMQ) -> None:
    cancel(ttg, TTG_BROKER=rabbitmq.url)
