"""Which server to try next: several hosts in one broker URL, and several addresses behind one name.

``amqp://user:password@a,b:5673,c/vhost`` names three hosts of one cluster; each may resolve to several addresses, as
a headless Kubernetes service does. All of them are equal: a client begins anywhere, and goes on with the next one as
long as none lets it in.
"""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from ttg.errors import BrokerUnavailable


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server: ``host`` is the name that a certificate has to fit, ``ip`` where to connect to."""

    host: str
    ip: str
    port: int


def hosts_of(url: str, default_port: int) -> list[tuple[str, int]]:
    """The hosts and ports of a broker URL. ``ValueError`` when there is none, or a port that is none."""
    hosts = []
    for part in urlsplit(url).netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{part}")
        if not one.hostname:
            raise ValueError(f"expected host or host:port, comma-separated, got {part!r}")
        hosts.append((one.hostname, one.port or default_port))
    return hosts


class Addresses:
    """The servers of one broker, in turn, from a random one on."""

    def __init__(self, url: str, default_port: int) -> None:
        self.hosts = hosts_of(url, default_port)
        self._waiting: list[ServerAddress] = []

    async def next(self) -> ServerAddress:
        """The next to try; names are looked up again in each round. ``BrokerUnavailable`` when none can be."""
        if not self._waiting:
            self._waiting = await self._look_up()
            random.shuffle(self._waiting)
        return self._waiting.pop()

    async def _look_up(self) -> list[ServerAddress]:
        found: dict[ServerAddress, None] = {}
        failure = ""
        for host, port in self.hosts:
            try:
                infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                failure = f"{host} cannot be looked up: {error.strerror or error}"
                continue
            found |= {ServerAddress(host, str(info[4][0]), port): None for info in infos}
        if not found:
            raise BrokerUnavailable(f"{failure}: is the name right?")
        return list(found)
