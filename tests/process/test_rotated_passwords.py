"""A password that is changed in the middle of a run, on real servers: what was logged in is cut off and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis
from tests.process.fleet import Fleet

from rabbitmq_server import SecureRabbitMQ
from runs import descendants_of, eventually
from servers import RedisServer, valkey_program
from ttg.demo.local_rabbitmq import free_ports

USER = "rotating"
RIGHTS = ("resetchannels", "allkeys", "allcommands")

pytestmark = pytest.mark.timeout(120)


class Vault:
    """A file with the newest password, and the command that prints it."""

    def __init__(self, folder: Path) -> None:
        self._file, self.version = folder / "vault", 0
        self.change()

    def change(self, **more: Any) -> str:
        self.version += 1
        password = f"hush-{self.version}"
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps({"username": USER, "password": password, **more}))
        fresh.replace(self._file)
        return password

    @property
    def environment(self) -> dict[str, str]:
        return {"TTG_CREDENTIALS_COMMAND": f"cat {self._file}"}


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


@pytest.fixture
def valkey() -> Iterator[tuple[Any, str]]:
    port = free_ports(1)[0]
    server = RedisServer(valkey_program(), "--port", str(port), "--bind", "127.0.0.1").start()
    admin: Any = redis.Redis(unix_socket_path=str(server.socket))
    admin.execute_command("CONFIG", "SET", "requirepass", "nobody's")
    yield admin, f"redis://127.0.0.1:{port}"
    admin.close()
    server.close()


@pytest.fixture
def fleets(tmp_path: Path, vault: Vault) -> Iterator[Any]:
    started: list[Fleet] = []

    def start(name: str, url: str, size: int) -> Fleet:
        fleet = Fleet(cast(Any, SimpleNamespace(name=name, url=url)), tmp_path, size=size)
        fleet.environment |= vault.environment
        started.append(fleet)
        return fleet

    yield start
    for fleet in started:
        fleet.retire()


def check_nothing_is_told(fleet: Fleet) -> None:
    """Neither what was said nor what user code sees has a password, or the way to it."""
    assert "hush-" not in fleet.story()
    processes = [fleet.coordinator.pid, *(pid for worker in fleet.workers for pid in descendants_of(worker.pid))]
    told = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes)
    told += b"".join(Path(f"/proc/{pid}/environ").read_bytes() for pid in processes[1:])
    assert processes[1:]
    assert b"hush-" not in told
    assert b"TTG_CREDENTIALS_COMMAND" not in told


def test_a_password_is_rotated_on_redis(valkey: tuple[Any, str], vault: Vault, fleets: Any) -> None:
    admin, url = valkey
    admin.execute_command("ACL", "SETUSER", USER, "on", ">hush-1", *RIGHTS)
    fleet = fleets("valkey", url, 1500).run("--chunk-size", "20", "--dashboard").join(2).wait_for_calls(100)
    check_nothing_is_told(fleet)
    for _ in range(2):
        admin.execute_command("ACL", "SETUSER", USER, "resetpass", f">{vault.change()}")
        assert admin.execute_command("CLIENT", "KILL", "USER", USER)
        fleet.wait_for_calls(100)
    fleet.finish()
    assert "hush-" not in fleet.story()


def test_a_password_is_rotated_on_rabbitmq(rabbitmq: SecureRabbitMQ, vault: Vault, fleets: Any) -> None:
    def control(*words: str) -> None:
        asyncio.run(rabbitmq.control(*words))

    control("add_user", USER, "hush-1")
    try:
        control("set_permissions", USER, ".*", ".*", ".*")
        url = re.sub("//.*@", "//", rabbitmq.url)
        fleet = fleets("rabbitmq", url, 3000).run("--chunk-size", "20").join(2).wait_for_calls(100)
        check_nothing_is_told(fleet)
        control("change_password", USER, vault.change())
        control("close_all_user_connections", USER, "rotated")
        fleet.wait_for_calls(100).finish(repeats_of=None)
        assert "hush-" not in fleet.story()
        again = sum(len(calls) - 1 for calls in fleet.executed_again().values())
        assert again <= 2 * 2 * 20, "what was held when the connections were cut, at most"
    finally:
        control("delete_user", USER)


def test_a_login_that_stays_refused_ends_a_worker(valkey: tuple[Any, str], vault: Vault, fleets: Any) -> None:
    admin, url = valkey
    admin.execute_command("ACL", "SETUSER", USER, "on", ">hush-1", *RIGHTS)
    fleet = fleets("valkey", url, 3000).run("--chunk-size", "20").join(1).wait_for_calls(20)
    admin.execute_command("ACL", "SETUSER", USER, "resetpass", ">other")
    admin.execute_command("CLIENT", "KILL", "USER", USER)
    assert fleet.workers[0].wait() == 3, fleet.story()
    assert fleet.coordinator.wait() == 3, fleet.story()
    assert "refused the user or password" in fleet.coordinator.said()
    assert "are settled, and kept: `ttg resume " in fleet.coordinator.said()


def test_a_command_that_fails_is_waited_for_by_who_was_connected(
    valkey: tuple[Any, str], vault: Vault, fleets: Any, tmp_path: Path
) -> None:
    admin, url = valkey
    admin.execute_command("ACL", "SETUSER", USER, "on", ">hush-1", *RIGHTS)
    fleet = fleets("valkey", url, 600).run("--chunk-size", "20").join(1).wait_for_calls(20)
    password = vault.change()
    os.rename(tmp_path / "vault", tmp_path / "away")
    admin.execute_command("ACL", "SETUSER", USER, "resetpass", f">{password}")
    admin.execute_command("CLIENT", "KILL", "USER", USER)
    eventually(lambda: "No such file" in fleet.workers[0].said(), "the command's own words")
    fleet.join(1)
    assert fleet.workers[1].wait() == 3, "it was never connected"
    os.rename(tmp_path / "away", tmp_path / "vault")
    fleet.finish(repeats_of=None)
