"""Which Redis or Valkey server to talk to: the primary, wherever it is now.

``redis://a,b:6380/0`` names several servers of which one is the primary; ``redis+sentinel://s1,s2,s3/mymaster`` names
sentinels that know it, and ``rediss+sentinel://`` those that speak TLS, as the servers do then. A server that says
where else to go (a replica, a node of a cluster) is believed once: if nobody answers there, the list is tried again.
"""

from __future__ import annotations

import dataclasses

from ttg.brokers.addresses import Addresses
from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Login
from ttg.brokers.redis.connection import DEFAULT_PORT, Address, ServerError, connect
from ttg.brokers.redis.keys import Keys
from ttg.errors import BrokerUnavailable

SENTINEL_PORT = 26379


class Servers:
    """Where to connect to next. Raises ``ValueError`` for a URL that names no server."""

    def __init__(self, config: BrokerConfig, keys: Keys) -> None:
        self._keys = keys
        self._address = Address.of(config.url, config.tls)
        self._listed = None
        if not self._address.path:
            self._listed = Addresses(config.url, SENTINEL_PORT if self._address.primary else DEFAULT_PORT)
        self._redirection: Address | None = None

    async def next(self) -> Address:
        """The server to try now. Raises ``BrokerUnavailable`` and ``OSError``."""
        if self._redirection is not None:
            address, self._redirection = self._redirection, None
            return address
        if self._listed is None:
            return self._address
        found = await self._listed.next()
        listed = dataclasses.replace(self._address, host=found.ip, port=found.port, name=found.host)
        return await self._ask_sentinel(listed) if self._address.primary else listed

    @property
    def count(self) -> int:
        """How many to try, at most, before it is known that no other will do."""
        return len(self._listed.hosts) if self._listed else 0

    @property
    def is_redirected(self) -> bool:
        """Whether a server said where to go instead."""
        return self._redirection is not None

    def redirect(self, error: ServerError) -> None:
        """Follow ``MOVED slot host:port`` (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/),
        or what a replica says of its primary."""
        words = str(error).split()
        if words[0] == "MOVED" and not self._keys.are_together:
            return  # the keys are spread over the cluster: no server will do
        if words[0] in ("MOVED", "READONLY") and len(words) > 2:
            host, _, port = words[2].rpartition(":")
            if host and port.isdigit():
                self._redirection = dataclasses.replace(self._address, host=host, port=int(port), name=host)

    async def _ask_sentinel(self, sentinel: Address) -> Address:
        asked = dataclasses.replace(sentinel, database=0, primary="")
        connection = await connect(asked, Login(), any_role=True)
        try:
            reply = await connection.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.primary)
        finally:
            connection.close()
        if reply is None:
            raise BrokerUnavailable(
                f"the sentinel {asked.name}:{asked.port} knows no primary {self._address.primary!r}"
            )
        host, port = reply[0].decode(), int(reply[1])
        return dataclasses.replace(self._address, host=host, port=port, name=host)
