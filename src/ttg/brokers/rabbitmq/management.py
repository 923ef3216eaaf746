"""What only the management plugin can tell: unacknowledged messages. Optional, and a few seconds behind."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from ttg.brokers.addresses import hosts_of
from ttg.brokers.base import BrokerConfig
from ttg.brokers.tls import tls_context
from ttg.clock import loop_time

TIMEOUT_SECONDS = 1.0
SILENCE_SECONDS = 30.0
COLUMNS = "name,messages_unacknowledged"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the management API answers for our virtual host, and as whom."""

    url: str
    authorization: str


def endpoint(config: BrokerConfig) -> Endpoint:
    """The broker's host, port 15672 (15671 with TLS) or the port named by ``?management=PORT`` in the URL."""
    parts = urlsplit(config.url)
    secure = parts.scheme == "amqps"
    port = parse_qs(parts.query).get("management", ["15671" if secure else "15672"])[0]
    host, _ = hosts_of(config.url, 5672)[0]
    vhost = quote(unquote(parts.path[1:]) or "/", safe="")
    pattern = f"^{re.escape(config.namespace)}\\."
    ours = urlencode({"columns": COLUMNS, "page": 1, "page_size": 100, "name": pattern, "use_regex": "true"})
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    url = f"http{'s' * secure}://{host}:{port}/api/queues/{vhost}?{ours}"
    return Endpoint(url, "Basic " + base64.b64encode(login.encode()).decode())


class Management:
    """Asks the management API; after a failure it is left alone for a while."""

    def __init__(self, config: BrokerConfig) -> None:
        self._endpoint = endpoint(config)
        self._tls = config.tls
        self._silent_until = float("-inf")

    async def unacknowledged(self) -> dict[str, int]:
        """Unacknowledged messages by queue name; empty when the API cannot be asked."""
        if loop_time() < self._silent_until:
            return {}
        try:
            rows = await asyncio.to_thread(self._fetch)
            return {row["name"]: row["messages_unacknowledged"] for row in rows if "messages_unacknowledged" in row}
        except (OSError, ValueError, KeyError, TypeError):
            self._silent_until = loop_time() + SILENCE_SECONDS
            return {}

    def _fetch(self) -> list[dict[str, Any]]:
        request = urllib.request.Request(self._endpoint.url, headers={"Authorization": self._endpoint.authorization})
        context = tls_context(self._tls) if self._endpoint.url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:
            rows: list[dict[str, Any]] = json.load(answer)["items"]
        return rows
