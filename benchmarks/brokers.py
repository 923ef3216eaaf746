"""Private brokers: started on free ports in a temporary folder, stopped by their own process id, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.processes import kill_tree

START_SECONDS = 60
RABBITMQ_SBIN = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"
"""Where Debian keeps the real scripts; those on PATH change user and folder, which a private node must not."""

REDIS_SETTINGS = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "bind": "127.0.0.1"}
"""Durable to a second, like TTG's own embedded server: everyone gets the same."""


@contextlib.contextmanager
def broker(kind: str | None, folder: Path) -> Iterator[str | None]:
    """URL of a fresh private broker of ``kind`` (``redis``, ``rabbitmq`` or ``None`` for none)."""
    if kind is None:
        yield None
        return
    with STARTERS[kind](folder) as url:
        yield url


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A private ``redis-server`` (or ``valkey-server``) with an append-only file."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = REDIS_SETTINGS | {"port": str(port), "dir": str(folder)}
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    with running([*dying_with_us(), redis_binary(), *options], folder):
        wait_for(lambda: answers(port, b"PING\r\n", b"+PONG"), f"redis-server on port {port}")
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def rabbitmq_node(folder: Path) -> Iterator[str]:
    """A private RabbitMQ node: own name, cookie, ports and folders, an own user, no ``guest``."""
    folder.mkdir(parents=True, exist_ok=True)
    password, port = secrets.token_hex(8), free_port()
    folder.joinpath("rabbitmq.conf").write_text(
        f"listeners.tcp.default = 127.0.0.1:{port}\n"
        f"default_user = bench\ndefault_pass = {password}\n"
        "log.console = false\nlog.file.level = error\n"
    )
    with running([str(rabbitmq_sbin() / "rabbitmq-server")], folder, rabbitmq_environment(folder)):
        wait_for(lambda: answers(port, b"AMQP\x00\x00\x09\x01", b"\x01"), f"rabbitmq-server on port {port}")
        yield f"amqp://bench:{password}@127.0.0.1:{port}/%2F"


STARTERS = {"redis": redis_server, "rabbitmq": rabbitmq_node}


def rabbitmq_environment(folder: Path) -> dict[str, str]:
    plugins = folder / "enabled_plugins"
    plugins.write_text("[].\n")
    return {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"bench{os.getpid()}-{secrets.token_hex(3)}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }


@contextlib.contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a server until the block ends; its output goes to ``server.log`` in ``folder``."""
    with folder.joinpath("server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | (environment or {}), start_new_session=True
        )
    try:
        yield
    finally:
        kill_tree(process.pid)
        process.wait()


def dying_with_us() -> list[str]:
    """A prefix for commands that must not outlive this process, even if it is killed."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def wait_for(up: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not up():
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected {what} to answer within {START_SECONDS} s")
        time.sleep(0.02)


def answers(port: int, question: bytes, answer: bytes) -> bool:
    """Whether something on ``port`` answers ``question`` with ``answer``."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(question)
            return connection.recv(len(answer)) == answer
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_binary() -> str:
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    raise FileNotFoundError("expected redis-server or valkey-server on PATH: install one, or leave out peers on Redis")


def rabbitmq_sbin() -> Path:
    """Folder of RabbitMQ's own scripts."""
    packaged = sorted(Path("/").glob(RABBITMQ_SBIN.lstrip("/")))
    if packaged:
        return packaged[-1]
    if path := shutil.which("rabbitmq-server"):
        return Path(path).parent
    raise FileNotFoundError("expected rabbitmq-server on PATH: install it, or leave out peers on RabbitMQ")
