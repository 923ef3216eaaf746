"""Connections that live longer than the login they were opened with."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from rabbitmq_server import SecureRabbitMQ
from servers import RedisServer, valkey_program
from ttg.brokers import connect
from ttg.brokers.base import Broker, BrokerConfig
from ttg.demo.local_rabbitmq import free_ports
from ttg.errors import BrokerUnavailable
from waiting import eventually

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
COMMAND = f"{sys.executable} {Path(__file__).with_name('token_command.py')} {KEY}"


@asynccontextmanager
async def opened(url: str, command: str) -> AsyncIterator[Broker]:
    broker = connect(BrokerConfig(url, f"t{uuid4().hex[:8]}", credentials_command=command), "worker")
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture
def valkey() -> Iterator[tuple[Any, str]]:
    port = free_ports(1)[0]
    server = RedisServer(valkey_program(), "--port", str(port), "--bind", "127.0.0.1").start()
    with redis.Redis(unix_socket_path=str(server.socket)) as admin:
        yield admin, f"redis://me@127.0.0.1:{port}"
    server.close()


async def test_redis_hears_of_the_new_password_on_the_same_connections(valkey: tuple[Any, str], tmp_path: Path) -> None:
    admin, url = valkey
    rights = ("on", ">one", ">two", "resetchannels", "allkeys", "allcommands")
    admin.execute_command("ACL", "SETUSER", "me", *rights)
    answer = tmp_path / "answer"
    answer.write_text(json.dumps({"password": "one", "expires_in": 1}))

    def ours() -> set[str]:
        return {client["id"] for client in admin.client_list() if client["user"] == "me"}

    async def logins() -> int:
        await broker.lease(1, 0.0)
        return int(admin.info("commandstats")["cmdstat_auth"]["calls"])

    async with opened(url, f"cat {answer}") as broker:
        first, connections = await logins(), ours()
        answer.write_text(json.dumps({"password": "two", "expires_in": 1}))
        await eventually(logins, lambda now: now >= first + 2 * len(connections))
        assert ours() == connections


@pytest.fixture
async def node(rabbitmq: SecureRabbitMQ) -> tuple[SecureRabbitMQ, str]:
    await rabbitmq.set_token_key(KEY)
    return rabbitmq, re.sub("//.*@", "//", rabbitmq.url)


async def check_rights(broker: Broker) -> dict[str, int]:
    """RabbitMQ looks at a token when a channel asks for something for the first time."""
    return await broker.purge(dry_run=True)


async def test_rabbitmq_hears_of_the_new_token_on_the_same_connections(node: tuple[SecureRabbitMQ, str]) -> None:
    server, url = node
    expired = time.time() + 3.5

    async def is_over() -> bool:
        await check_rights(broker)
        return time.time() > expired

    async with opened(url, f"{COMMAND} 2") as broker:
        await eventually(is_over)
        names = re.findall(r"connection \S+ (\(.*? - ttg publish worker\)): user 'token' (\w+)", server.log_text)
        assert [what for _, what in names][:2] == ["authenticated", "updated"]
        assert len({name for name, _ in names}) == 1, "one connection all the time"
        await broker.purge()


async def test_rabbitmq_after_a_token_that_expired_without_a_warning(node: tuple[SecureRabbitMQ, str]) -> None:
    server, url = node
    before = server.log_text.count("has expired at")

    async def goes_on_after_a_refusal() -> bool:
        with suppress(BrokerUnavailable):  # what a process that was connected waits for
            await check_rights(broker)
            return server.log_text.count("has expired at") > before
        return False

    async with opened(url, f"{COMMAND} 1 quiet") as broker:
        await eventually(goes_on_after_a_refusal)
        await broker.purge()
