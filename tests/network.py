"""Hosts on a network of their own, each a network namespace, whose links can be cut so that nobody hears of it.

All hosts hang on one bridge, which lies in a namespace as well; the test itself has a leg there, too. A port of the
bridge that is disabled drops every frame, both ways: no reset, no loss of carrier, as when a switch in between fails.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from contextlib import suppress

import pytest

PROGRAMS = ("ip", "bridge", "nsenter")
DISABLED, FORWARDING = 0, 3


class Network:
    """Hosts with these names; skips the test where namespaces cannot be made. ``close`` removes everything."""

    def __init__(self, *hosts: str) -> None:
        if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
            pytest.skip(f"network namespaces need {', '.join(missing)} (iproute2, util-linux)")
        self._prefix = f"ttg{secrets.token_hex(3)}"
        self._subnet = f"198.18.{secrets.randbelow(256)}"
        self._hub = f"{self._prefix}-hub"
        self._hosts = list(hosts)
        self._namespaces: list[str] = []
        try:
            self._make()
        except PermissionError as error:
            self.close()
            pytest.skip(f"network namespaces need root: {error}")
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        self._add_namespace(self._hub)
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")
        for number, host in enumerate(self._hosts):
            namespace = self._namespace(host)
            self._add_namespace(namespace)
            self._plug_in(f"port{number}", self.address(host), "eth0", "-n", namespace)
        self._plug_in("outside", f"{self._subnet}.254", self._prefix)

    def _add_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._namespaces.append(name)
        _ip("-n", name, "link", "set", "lo", "up")

    def _plug_in(self, port: str, address: str, device: str, *where: str) -> None:
        """A cable from the bridge's ``port`` to the ``device`` of a namespace, or of ours."""
        target = ("netns", where[-1]) if where else ("netns", str(os.getpid()))
        _ip("-n", self._hub, "link", "add", port, "type", "veth", "peer", "name", device, *target)
        _ip("-n", self._hub, "link", "set", port, "master", "bridge", "up")
        _ip(*where, "address", "add", f"{address}/24", "dev", device)
        _ip(*where, "link", "set", device, "up")

    def _namespace(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def address(self, host: str) -> str:
        """Its IP address."""
        return f"{self._subnet}.{self._hosts.index(host) + 1}"

    def inside(self, host: str) -> tuple[str, ...]:
        """What to put before a command for it to run there; the process stays the one that was started."""
        program = shutil.which("nsenter")
        assert program is not None
        return (program, f"--net=/run/netns/{self._namespace(host)}")

    def cut(self, host: str) -> None:
        """From now on nothing reaches it, and nothing from it reaches anybody."""
        self._set(host, DISABLED)

    def mend(self, host: str) -> None:
        """It is reached again."""
        self._set(host, FORWARDING)

    def _set(self, host: str, state: int) -> None:
        port = f"port{self._hosts.index(host)}"
        _run("bridge", "-n", self._hub, "link", "set", "dev", port, "state", str(state))

    def close(self) -> None:
        """Remove the namespaces, and with them the bridge and its cables. Idempotent."""
        with suppress(RuntimeError, PermissionError):  # the kernel takes its time with what is in a namespace
            _ip("link", "delete", self._prefix)
        for name in self._namespaces:
            with suppress(RuntimeError, PermissionError):
                _ip("netns", "delete", name)
        self._namespaces = []


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    if os.geteuid() != 0:
        raise PermissionError("expected to be root")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "not permitted" in done.stderr:
        raise PermissionError(f"{' '.join(words)}: {done.stderr.strip()}")
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
