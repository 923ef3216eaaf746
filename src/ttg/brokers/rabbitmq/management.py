"""What only the management plugin can tell: unacknowledged messages. Optional, and a few seconds behind."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import urllib.request
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from ttg.brokers.addresses import hosts_of
from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Credentials, Login
from ttg.brokers.tls import tls_context
from ttg.clock import loop_time
from ttg.errors import BrokerError

TIMEOUT_SECONDS = 1.0
SILENCE_SECONDS = 30.0
COLUMNS = "name,messages,messages_unacknowledged"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the management API answers for our virtual host, and as whom."""

    url: str
    authorization: str = field(repr=False)


def endpoint(config: BrokerConfig, login: Login) -> Endpoint:
    """The broker's host, port 15672 (15671 with TLS) or the port named by ``?management=PORT`` in the URL."""
    parts = urlsplit(config.url)
    secure = parts.scheme == "amqps"
    port = parse_qs(parts.query).get("management", ["15671" if secure else "15672"])[0]
    host, _ = hosts_of(config.url, 5672)[0]
    vhost = quote(unquote(parts.path[1:]) or "/", safe="")
    pattern = f"^{re.escape(config.namespace)}\\."
    ours = urlencode({"columns": COLUMNS, "page": 1, "page_size": 500, "name": pattern, "use_regex": "true"})
    url = f"http{'s' * secure}://{host}:{port}/api/queues/{vhost}?{ours}"
    return Endpoint(url, "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode())


class Management:
    """Asks the management API; after a failure it is left alone for a while."""

    def __init__(self, config: BrokerConfig, credentials: Credentials) -> None:
        self._config = config
        self._credentials = credentials
        self._silent_until = float("-inf")

    async def queues(self) -> dict[str, dict[str, Any]]:
        """The queues in our namespace by name, each with its ``messages`` and ``messages_unacknowledged`` as soon as
        they are known; empty when the API cannot be asked."""
        if loop_time() < self._silent_until:
            return {}
        try:
            there = endpoint(self._config, await self._credentials.current())
            rows = (await asyncio.to_thread(ask, there, self._config))["items"]
            return {row["name"]: row for row in rows}
        except (BrokerError, OSError, ValueError, KeyError, TypeError):
            self._silent_until = loop_time() + SILENCE_SECONDS
            return {}


def nodes_of(config: BrokerConfig, login: Login) -> list[dict[str, Any]]:
    """The nodes of the cluster, as the API describes them. Raises as :func:`ask`."""
    there = endpoint(config, login)
    found: list[dict[str, Any]] = ask(replace(there, url=there.url.partition("/api/")[0] + "/api/nodes"), config)
    return found


def policies_of(config: BrokerConfig, login: Login) -> list[dict[str, Any]]:
    """The policies of our virtual host, the operators' among them. Raises as :func:`ask`."""
    there = endpoint(config, login)
    front, _, vhost = there.url.partition("?")[0].partition("/api/queues/")
    kinds = ("policies", "operator-policies")
    return [policy for kind in kinds for policy in ask(replace(there, url=f"{front}/api/{kind}/{vhost}"), config)]


def ask(there: Endpoint, config: BrokerConfig) -> Any:
    """What the API answers, decoded. Raises ``OSError`` and ``ValueError``; blocking."""
    request = urllib.request.Request(there.url, headers={"Authorization": there.authorization})
    context = tls_context(config.tls) if there.url.startswith("https") else None
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:
        return json.load(answer)
