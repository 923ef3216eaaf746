"""A private RabbitMQ node for people who have none: a demonstration, a test, a first try.

Its folder holds everything: configuration, Erlang cookie, data, log. It listens on loopback only, on ports of its own,
has one account with a generated password (no ``guest``), and belongs to a process of
:mod:`ttg.brokers.server_supervisor`
that starts it again should it die and ends it when we are gone.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ttg.brokers import server_supervisor
from ttg.errors import BrokerUnavailable, SettingsError

START_SECONDS = 90.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
DOCKER_IMAGE = "rabbitmq:4-management"
PACKAGED_SCRIPTS = Path("/usr/lib/rabbitmq/bin")
"""Where Debian and Red Hat keep the real scripts; those on PATH insist on changing the user to ``rabbitmq``."""

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
default_user_tags.administrator = true
log.file.level = info
"""
MANAGEMENT = """\
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
"""


class LocalRabbitMQ:
    """One node in ``folder``: from ``rabbitmq-server`` on PATH, else from Docker.

    Started again in the same folder it has the same account, ports and queues (not with Docker).
    """

    user = "ttg"

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.password = ""
        self.port = self.management_port = self._epmd_port = self._distribution_port = 0
        self._scripts: Path | None = None
        self._parent_pipe = -1
        self._supervisors: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """The broker URL, with the account; it also says that this is one node, and where the management API is."""
        management = f"&management={self.management_port}" if self.management_port else ""
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self.port}/%2F?nodes=1{management}"

    @property
    def management_url(self) -> str | None:
        """The management UI; ``None`` when the plugin is not installed."""
        return f"http://127.0.0.1:{self.management_port}/" if self.management_port else None

    @property
    def pid(self) -> int:
        """Process id of the server, for those who want to break it."""
        return int((self.folder / "server.pid").read_text(encoding="ascii"))

    @property
    def node_name(self) -> str:
        return f"ttg{self.port}@localhost"

    async def start(self) -> None:
        """Start the node; returns when it takes connections (some seconds).

        Raises ``SettingsError`` when there is neither RabbitMQ nor Docker, ``BrokerUnavailable`` when it does not come
        up.
        """
        self._scripts = find_scripts()
        docker = None if self._scripts else find_docker()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._settle_account()
        parent_pipe_end, self._parent_pipe = os.pipe()
        try:
            if docker:
                self._keep("server", self._docker_command(docker), parent_pipe_end)
            else:
                self._configure()
                self._keep("epmd", [_program("epmd"), "-address", "127.0.0.1"], parent_pipe_end)
                self._keep("server", [str(self._scripts_folder / "rabbitmq-server")], parent_pipe_end)
        finally:
            os.close(parent_pipe_end)
        await self._wait_until_ready()

    async def stop(self) -> None:
        """End the node and see that it is gone. Idempotent, never raises."""
        if self._parent_pipe >= 0:
            os.close(self._parent_pipe)
            self._parent_pipe = -1
        for process in self._supervisors:
            await asyncio.to_thread(_see_end, process)
        if self._supervisors and self._scripts is None:
            await asyncio.to_thread(self._docker, "rm", "--force", self._container)
        self._supervisors = []

    def crash(self) -> None:
        """Kill the server (SIGKILL); its supervisor starts it again."""
        if self._scripts is None:
            self._docker("kill", self._container)
        else:
            os.kill(self.pid, signal.SIGKILL)

    async def crash_and_restart(self) -> None:
        """Kill the server (SIGKILL); returns when it takes connections again."""
        self.crash()
        await self._wait_until(lambda: not self._answers(), "did not go away")
        await self._wait_until_ready()

    async def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` on this node and return what it printed."""
        if self._scripts is None:
            command = [find_docker(), "exec", self._container, "rabbitmqctl", *arguments]
        else:
            command = [str(self._scripts_folder / "rabbitmqctl"), "-n", self.node_name, *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BrokerUnavailable(f"rabbitmqctl {' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    @property
    def _scripts_folder(self) -> Path:
        assert self._scripts is not None, "start() found no rabbitmq-server"
        return self._scripts

    @property
    def _container(self) -> str:
        return f"ttg-rabbitmq-{self.port}"

    def _settle_account(self) -> None:
        """Password and ports: those of the folder if it had a node before."""
        file = self.folder / "account"
        if not file.exists():
            ports = " ".join(str(port) for port in free_ports(4))
            file.touch(mode=0o600)
            file.write_text(f"{secrets.token_urlsafe(18)} {ports}\n", encoding="ascii")
        self.password, *numbers = file.read_text(encoding="ascii").split()
        self.port, self.management_port, self._epmd_port, self._distribution_port = map(int, numbers)

    def _configure(self) -> None:
        if not has_management(self._scripts_folder):
            self.management_port = 0
        template = CONFIGURATION + (MANAGEMENT if self.management_port else "")
        self._write("rabbitmq.conf", template.format(**vars(self), user=self.user))
        self._write("enabled_plugins", f"[{'rabbitmq_management' if self.management_port else ''}].\n")
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            self._write(cookie.name, secrets.token_hex(20))
            cookie.chmod(0o400)

    def _write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(text, encoding="ascii")

    def _environment(self) -> dict[str, str]:
        """Everything of the node in our folder; nothing of a system-wide RabbitMQ."""
        ours = {
            "HOME": self.folder,
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": self._epmd_port,
            "RABBITMQ_NODENAME": self.node_name,
            "RABBITMQ_DIST_PORT": self._distribution_port,
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq",
            "RABBITMQ_CONF_ENV_FILE": self.folder / "rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "enabled_plugins",
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_GENERATED_CONFIG_DIR": self.folder / "generated",
            # The script then becomes the server instead of waiting for it: the supervisor signals the right process.
            "RUNNING_UNDER_SYSTEMD": "1",
            # Idle schedulers sleep instead of spinning: this node shares the machine with the workers.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            # For Docker; given by name only on its command line, which others can read.
            "RABBITMQ_DEFAULT_USER": self.user,
            "RABBITMQ_DEFAULT_PASS": self.password,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")}
        kept.pop("NOTIFY_SOCKET", None)
        return kept | {name: str(value) for name, value in ours.items()}

    def _docker_command(self, docker: str) -> list[str]:
        ports = [(self.port, 5672), (self.management_port, 15672)]
        published = [word for ours, theirs in ports for word in ("--publish", f"127.0.0.1:{ours}:{theirs}")]
        account = ["--env", "RABBITMQ_DEFAULT_USER", "--env", "RABBITMQ_DEFAULT_PASS"]
        return [docker, "run", "--rm", "--name", self._container, *published, *account, DOCKER_IMAGE]

    def _docker(self, *arguments: str) -> None:
        subprocess.run([find_docker(), *arguments], capture_output=True, check=False)

    def _keep(self, name: str, command: Sequence[str], parent_pipe_end: int) -> None:
        arguments = [str(parent_pipe_end), str(self.folder / "sockets"), str(self.folder / f"{name}.pid")]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", server_supervisor.__file__, *arguments, *command],
                env=self._environment(),
                pass_fds=(parent_pipe_end,),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._supervisors.append(process)

    async def _wait_until_ready(self) -> None:
        try:
            await self._wait_until(self._answers, f"did not answer in {START_SECONDS:.0f} s")
        except BrokerUnavailable:
            await self.stop()
            raise

    async def _wait_until(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            ended = [process for process in self._supervisors if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"the private RabbitMQ node {'ended' if ended else complaint}: see {self.folder / 'server.log'}"
                )
            await asyncio.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        """Whether a broker says hello: Docker's proxy takes connections before there is one."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as line:
            line.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(line.recv(1))
        return False


def find_scripts() -> Path | None:
    """The folder of the first ``rabbitmq-server`` on PATH and its ``rabbitmqctl``; ``None`` when there is none."""
    found = shutil.which("rabbitmq-server")
    if found is None:
        return None
    folder = Path(found).parent
    is_wrapper = not (folder / "rabbitmq-env").exists()
    return PACKAGED_SCRIPTS if is_wrapper and (PACKAGED_SCRIPTS / "rabbitmq-server").exists() else folder


def find_docker() -> str:
    """The docker command; ``SettingsError`` when there is none, with the three ways to a RabbitMQ."""
    docker = shutil.which("docker")
    if docker is None:
        raise SettingsError(
            "no RabbitMQ found: install rabbitmq-server, or install Docker, or name a running broker with "
            "--broker amqp://user:password@host/ (or QUEUE_BACKEND=rabbitmq and RABBITMQ_HOST, _USER, _PASSWORD)"
        )
    return docker


def has_management(scripts: Path) -> bool:
    """Whether the management plugin is installed with the server whose scripts these are."""
    plugins = (scripts / "rabbitmq-server").resolve().parent.parent / "plugins"
    return any(plugins.glob("rabbitmq_management-*"))


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses now."""
    lines = [socket.socket() for _ in range(count)]
    for line in lines:
        line.bind(("127.0.0.1", 0))
    ports = [int(line.getsockname()[1]) for line in lines]
    for line in lines:
        line.close()
    return ports


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SettingsError(f"expected Erlang's {name} on PATH beside rabbitmq-server, found none: install Erlang")
    return found


def _see_end(process: subprocess.Popen[bytes]) -> None:
    for insist in (process.terminate, process.kill):
        try:
            process.wait(STOP_SECONDS)
            return
        except subprocess.TimeoutExpired:
            insist()
    process.wait()
