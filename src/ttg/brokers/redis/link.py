"""The wire to a Redis or Valkey server: commands, scripts, and the driver's errors in TTG's words.

The driver's own retries are off: a write whose reply was lost would run twice. Its reply parsing is off too, for it
costs more than the round trip; replies are the protocol's plain lists, numbers and bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from redis import exceptions as driver
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ttg.brokers.base import BrokerConfig
from ttg.errors import BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable, SettingsError

BLOCK_SECONDS = 1.0
"""Longest time a command may wait on the server; the socket's timeout lies above it."""

Words = Sequence[str | bytes | int]
OnConnect = Callable[[AbstractConnection], Awaitable[None]]

TLS_OPTIONS = {"ca_file": "ssl_ca_certs", "cert_file": "ssl_certfile", "key_file": "ssl_keyfile"}


@cache
def _script(name: str) -> tuple[str, str]:
    source = (Path(__file__).parent / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Link:
    """Commands and scripts over a pool of connections; with ``on_connect``: over a single one, which it introduces."""

    def __init__(self, config: BrokerConfig, on_connect: OnConnect | None = None) -> None:
        self._config = config
        self._redis = Redis.from_pool(_pool(config, on_connect))
        self._redis.response_callbacks.clear()
        self._execute: Callable[..., Awaitable[Any]] = self._redis.execute_command

    async def command(self, *words: str | bytes | int) -> Any:
        """The raw reply to one command."""
        with translated(self._config):
            return await self._execute(*words)

    async def script(self, name: str, keys: Sequence[str], arguments: Words) -> Any:
        """The raw reply of ``lua/<name>.lua``."""
        source, digest = _script(name)
        with translated(self._config):
            try:
                return await self._execute("EVALSHA", digest, len(keys), *keys, *arguments)
            except driver.NoScriptError:
                return await self._execute("EVAL", source, len(keys), *keys, *arguments)

    async def close(self) -> None:
        """Close the connections. Never raises."""
        await self._redis.aclose()


def _pool(config: BrokerConfig, on_connect: OnConnect | None) -> ConnectionPool:
    options = {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": config.connect_timeout_seconds,
        "socket_timeout": config.connect_timeout_seconds + BLOCK_SECONDS,
        "socket_keepalive": True,
        **{TLS_OPTIONS[name]: value for name, value in config.tls.items() if name in TLS_OPTIONS},
    }
    if config.url.startswith("unix:"):
        del options["socket_keepalive"]
    try:
        if on_connect is None:
            return ConnectionPool.from_url(config.url, **options)
        return BlockingConnectionPool.from_url(
            config.url, max_connections=1, timeout=None, redis_connect_func=on_connect, **options
        )
    except ValueError as error:
        raise SettingsError(
            f"expected redis://[user:password@]host[:port][/db], got {config.masked_url}: {error}"
        ) from (error)


@contextmanager
def translated(config: BrokerConfig) -> Iterator[None]:
    """Raise the driver's errors as :class:`~ttg.errors.BrokerError`."""
    try:
        yield
    except (driver.RedisError, OSError) as error:
        raise _translate(error, config.masked_url) from error


def _translate(error: Exception, url: str) -> BrokerError:
    # While connecting, the driver wraps what the server said (wrong password, …) into a ConnectionError.
    error = error.__cause__ if isinstance(error.__cause__, driver.RedisError) else error
    text = str(error)
    if isinstance(error, driver.AuthenticationError | driver.NoPermissionError) or text.startswith(
        ("NOAUTH", "WRONGPASS")
    ):
        return BrokerRefused(f"{url} refused the user or password ({text}): set them in the URL or the environment")
    if isinstance(error, driver.OutOfMemoryError) or text.startswith("MISCONF"):
        return BrokerFull(f"{url} takes no more data ({text}): waiting until there is room")
    unavailable = driver.ConnectionError | driver.TimeoutError | driver.ReadOnlyError | OSError
    if isinstance(error, unavailable) or text.startswith(("CLUSTERDOWN", "MASTERDOWN", "UNBLOCKED")):
        return BrokerUnavailable(f"{url} cannot be reached: {text}")
    if "WRONGTYPE" in text:
        return BrokerRefused(f"{url} has keys of another program under TTG's names ({text}): use another namespace")
    return BrokerRefused(f"{url} refused a command: {text}")
