"""The connections of one client: made when first used, made again when lost, with backoff and jitter."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial

from ttg.brokers.addresses import ServerAddress
from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Credentials, Login
from ttg.brokers.rabbitmq.connection import AmqpConnection, addresses_of, connection_parameters
from ttg.clock import loop_time
from ttg.errors import AccessRefused, BrokerUnavailable

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

log = logging.getLogger("ttg.broker")


class Connections:
    """Up to three connections: ``publish``, ``consume``, ``read``.

    They are separate because a memory alarm freezes a connection that has published, acknowledgements and all.
    ``on_trouble`` is told once when the broker is lost or blocks, and once when it is back: ``(text, recovered)``.
    """

    def __init__(
        self, config: BrokerConfig, consumer: str, on_trouble: Callable[[str, bool], None], credentials: Credentials
    ) -> None:
        self._config = config
        self._credentials = credentials
        credentials.on_renewed = self._renew
        self._consumer = consumer
        self._addresses = addresses_of(config)
        self._on_trouble = on_trouble
        self._connections: dict[str, AmqpConnection] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._lost_at: float | None = None
        self._known = False
        self.regained_at = float("-inf")

    async def get(self, purpose: str, timeout_seconds: float | None = None) -> AmqpConnection:
        """The open connection for ``purpose``; tries for ``timeout_seconds`` (default: the configured timeout)."""
        connection = self._connections.get(purpose)
        if connection is not None and connection.closed is None:
            return connection
        async with self._locks.setdefault(purpose, asyncio.Lock()):
            connection = self._connections.get(purpose)
            if connection is None or connection.closed is not None:
                connection = self._connections[purpose] = await self._connect(purpose, timeout_seconds)
        return connection

    async def another(self) -> AmqpConnection:
        """A new connection, which is the caller's to close."""
        return await self._connect("look", None)

    async def close(self) -> None:
        """Close all; never raises."""
        links, self._connections = list(self._connections.values()), {}
        await asyncio.gather(*(connection.close() for connection in links))

    async def _connect(self, purpose: str, timeout_seconds: float | None) -> AmqpConnection:
        timeout = self._config.connect_timeout_seconds if timeout_seconds is None else timeout_seconds
        deadline, pause = loop_time() + timeout, FIRST_PAUSE_SECONDS
        if purpose in self._connections:
            self._note_lost(str(self._connections[purpose].closed))
        while True:
            try:
                connection = await self._credentials.logged_in(partial(self._open, purpose), AccessRefused)
                break
            except BrokerUnavailable as error:
                self._note_lost(str(error))
                if loop_time() + pause > deadline:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        connection.on_blocked = self._note_blocked
        self._note_connected()
        return connection

    async def _open(self, purpose: str, login: Login) -> AmqpConnection:
        address = await self._addresses.next()
        parameters = connection_parameters(self._config, purpose, self._consumer, address, login)
        return await AmqpConnection.connect(parameters, self._where(address))

    def _renew(self, login: Login) -> None:
        for connection in self._connections.values():
            connection.renew(login)

    def _where(self, address: ServerAddress) -> str:
        """The URL, and which of its servers."""
        several = len(self._addresses.hosts) > 1 or address.host != address.ip
        return self._config.masked_url + (f" ({address.ip}:{address.port})" if several else "")

    def _note_lost(self, reason: str) -> None:
        if self._known and self._lost_at is None:
            self._lost_at = loop_time()
            self._trouble(reason, False)

    def _note_connected(self) -> None:
        self._known = True
        if self._lost_at is not None:
            seconds = loop_time() - self._lost_at
            self._lost_at, self.regained_at = None, loop_time()
            self._trouble(f"connection to RabbitMQ regained after {seconds:.1f} s", True)

    def _note_blocked(self, blocked: bool) -> None:
        text = "RabbitMQ takes messages again" if not blocked else "RabbitMQ takes no messages: memory or disk alarm"
        self._trouble(text, not blocked)

    def _trouble(self, text: str, recovered: bool) -> None:
        log.log(logging.INFO if recovered else logging.WARNING, "%s", text)
        self._on_trouble(text, recovered)
