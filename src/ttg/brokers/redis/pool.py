"""Commands and scripts on a Redis or Valkey server, over as many connections as are needed at once; its errors in TTG's
words."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Credentials, Login
from ttg.brokers.redis.connection import REFUSALS, Connection, LoginRefused, ServerError, connect
from ttg.brokers.redis.keys import Keys, Words
from ttg.brokers.redis.permissions import forbidden
from ttg.brokers.redis.servers import Servers
from ttg.brokers.tls import ADVICE, asks_for_certificate
from ttg.errors import AccessRefused, BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable, SettingsError

BLOCK_SECONDS = 1.0
"""Longest time a command may wait on the server; our backoff lies above it."""

LOOK_SECONDS = 2.0
"""How often to look whether bytes move: not during the commands that just wait for a task."""

OnConnect = Callable[[Connection], Awaitable[None]]


@cache
def _script(name: str) -> tuple[str, str]:
    source = (Path(__file__).parent / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Forbidden(AccessRefused):
    """By the server's access control list."""


class Pool:
    """Commands and scripts over a pool of connections; with ``on_connect``: over a single one, which it introduces.
    ``keys`` learn from the first connection whether the server is one of a cluster."""

    def __init__(
        self,
        config: BrokerConfig,
        keys: Keys,
        on_connect: OnConnect | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._config = config
        self._credentials = credentials or Credentials(config)
        self._keys = keys
        self._servers = _servers(config, keys)
        self._on_connect = on_connect
        self._turn = asyncio.Lock() if on_connect else nullcontext()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self.connections = 0
        """How many there were so far: a new one may be to another server."""

    async def ready(self) -> None:
        """Be connected: the names of the keys are final then."""
        with translated(self._config, self._keys):
            if not self._idle:
                self._idle.append(await self._connection())

    async def command(self, *words: str | bytes | int) -> Any:
        """The raw reply to one command."""
        with translated(self._config, self._keys):
            return await self._ask(*words)

    async def script(self, name: str, keys: Sequence[str], arguments: Words) -> Any:
        """The raw reply of ``lua/<name>.lua``."""
        with translated(self._config, self._keys):
            try:
                return await self._ask_script(name, (len(keys), *keys, *arguments))
            except ServerError as error:
                if not _is_denial(str(error)):
                    raise
                raise await self._denial(str(error)) from error

    async def _ask_script(self, name: str, arguments: Words) -> Any:
        source, digest = _script(name)
        try:
            return await self._ask("EVALSHA", digest, *arguments)
        except ServerError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return await self._ask("EVAL", source, *arguments)

    async def forbidden(self) -> list[str]:
        """What of what TTG needs the user may not do; see :func:`ttg.brokers.redis.permissions.forbidden`."""
        with translated(self._config, self._keys):
            async with _within(self._config.connect_timeout_seconds):
                connection = await self._credentials.logged_in(self._open, LoginRefused)
                try:
                    return await forbidden(connection, self._keys.tasks)
                finally:
                    connection.close()

    async def servers(self, looks: int) -> set[str]:
        """The run ids of the primaries that so many new connections lead to: one, unless something is wrong."""
        with translated(self._config, self._keys):
            return {found async for found in self._run_ids(looks)}

    async def _run_ids(self, looks: int) -> AsyncIterator[str]:
        for _ in range(looks):
            try:
                connection = await self._connect()
            except ServerError:
                if self._servers.is_redirected:
                    continue  # a replica, which says where the primary is
                raise
            try:
                yield re.findall(rb"^run_id:(\w+)", await connection.ask("INFO", "server"), re.MULTILINE)[0].decode()
            finally:
                connection.close()

    async def _denial(self, text: str) -> Forbidden:
        """Of a script: the server does not say which of its commands it is."""
        return denial(self._config.masked_url, await self.forbidden(), text)

    async def unblock(self) -> None:
        """Let commands that wait on the server return now, as if their time was over."""
        for waiting in list(self._busy):
            if waiting.id is not None:
                with suppress(BrokerError):
                    await self.command("CLIENT", "UNBLOCK", waiting.id)

    async def close(self) -> None:
        """Close the connections. Never raises."""
        for connection in list(self._busy):
            connection.close()
        self._close_idle()

    async def _ask(self, *words: str | bytes | int) -> Any:
        async with self._turn:
            try:
                return await self._ask_once(words)
            except ServerError:
                if not self._servers.is_redirected:
                    raise
                return await self._ask_once(words)  # refused there, so not done there

    async def _ask_once(self, words: Words) -> Any:
        connection = await self._connection()
        self._busy.add(connection)
        try:
            return await self._reply(connection, self._keys.current(words))
        finally:
            self._busy.discard(connection)

    async def _reply(self, connection: Connection, words: Words) -> Any:
        """A connection that answered, be it with an error, is used again; any other is not."""
        try:
            reply = await self._answer(connection, words)
        except ServerError as error:
            if str(error).startswith(ELSEWHERE):
                self._servers.redirect(error)
                connection.close()
                self._close_idle()
            else:
                self._idle.append(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return reply

    async def _answer(self, connection: Connection, words: Words) -> Any:
        """The reply, however long it takes, as long as bytes move: a slow link is not a dead one."""
        seconds = self._config.connect_timeout_seconds + BLOCK_SECONDS
        async with _within(seconds) as limit:
            watch = _ProgressWatch(connection, limit, seconds)
            try:
                return await connection.ask(*words)
            finally:
                watch.cancel()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_lost and await self._is_logged_in(connection):
                return connection
        for _ in range(self._servers.count):
            with suppress(OSError, ServerError):
                return await self._connect()
        return await self._connect()

    async def _is_logged_in(self, connection: Connection) -> bool:
        """With the newest login, that is: a server may hang up on those whose login expires. One that does not take it
        is closed, for a new connection finds out why."""
        if not self._credentials.is_old(connection.login):
            return True
        try:
            async with _within(self._config.connect_timeout_seconds):
                await connection.log_in(await self._credentials.current())
                return True
        except (OSError, ServerError, BrokerError):
            connection.close()
            return False
        except BaseException:
            connection.close()
            raise

    async def _connect(self) -> Connection:
        return await self._credentials.logged_in(self._connect_as, LoginRefused)

    async def _connect_as(self, login: Login) -> Connection:
        """A connection to the server whose turn it is."""
        async with _within(self._config.connect_timeout_seconds):
            try:
                connection = await self._open(login)
            except ServerError as error:
                self._servers.redirect(error)
                raise
            if self._on_connect is not None:
                try:
                    await self._on_connect(connection)
                except BaseException:
                    connection.close()
                    raise
            return connection

    async def _open(self, login: Login) -> Connection:
        connection = await connect(await self._servers.next(), login)
        self.connections += 1
        if connection.is_in_cluster:
            self._keys.keep_together()
        return connection

    def _close_idle(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()


class _ProgressWatch:
    """Puts ``limit`` off, to ``seconds`` from now, whenever bytes have moved since it looked last; by more once all are
    sent, for what is seen no more then."""

    def __init__(self, connection: Connection, limit: asyncio.Timeout, seconds: float) -> None:
        self._connection, self._limit, self._seconds = connection, limit, seconds
        self._before = connection.progress
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def cancel(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        progress = self._connection.progress
        if progress != self._before:
            passing = 0.0 if progress[0] else self._connection.passing_seconds
            self._limit.reschedule(self._loop.time() + self._seconds + passing)
        self._before = progress
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)


def _servers(config: BrokerConfig, keys: Keys) -> Servers:
    try:
        return Servers(config, keys)
    except ValueError as error:
        raise SettingsError(
            f"expected redis://[user:password@]host[:port][/db], got {config.masked_url}: {error}"
        ) from error


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """As ``asyncio.timeout``, with a reason for the reader of the error."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield limit
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {seconds:g} s") from error


@contextmanager
def translated(config: BrokerConfig, keys: Keys) -> Iterator[None]:
    """Raise what the server or the network says as :class:`~ttg.errors.BrokerError`."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise BrokerRefused(f"TLS with {config.masked_url} failed: {error}: {ADVICE}") from error
    except OSError as error:
        if why := asks_for_certificate(error, config.tls):
            raise BrokerRefused(f"TLS with {config.masked_url} failed: {why}") from error
        raise BrokerUnavailable(
            f"{config.masked_url} cannot be reached ({_reason(error)}): is the address right, and does the server run?"
        ) from error
    except ServerError as error:
        raise _translate(str(error), config, keys) from error


def _reason(error: OSError) -> str:
    """Without what asyncio adds, where the system's own words say it all."""
    if isinstance(error, ConnectionError | FileNotFoundError | PermissionError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _translate(text: str, config: BrokerConfig, keys: Keys) -> BrokerError:
    url = config.masked_url
    if text.startswith(REFUSALS):
        return AccessRefused(f"{url} refused the user or password ({text}): set them in the URL or the environment")
    if _is_denial(text):
        return denial(url, [], text)
    outside = text.startswith("CROSSSLOT") or (text.startswith("MOVED") and not keys.are_together)
    if outside or "SELECT is not allowed in cluster mode" in text:
        return BrokerRefused(_in_a_cluster(text, config.masked_url, keys))
    if text.startswith(("OOM", "MISCONF")):
        return BrokerFull(f"{url} takes no more data ({text}): waiting until there is room")
    if text.startswith(PASSING):
        return BrokerUnavailable(f"{url} cannot be reached: {text}")
    if "WRONGTYPE" in text:
        return BrokerRefused(f"{url} has keys of another program under TTG's names ({text}): use another namespace")
    return BrokerRefused(f"{url} refused a command: {text}")


def _is_denial(text: str) -> bool:
    """By the server's access control list (ACL), of a command or of one in a script."""
    return text.startswith("NOPERM") or "can't run this command" in text or "ACL failure in script" in text


def denial(url: str, missing: Sequence[str], text: str) -> Forbidden:
    """The error of a user who may do too little; ``missing`` as :meth:`Pool.forbidden` tells it, if known."""
    if not missing:
        return Forbidden(
            f"{url} does not let this user do what TTG needs ({text}): `ttg doctor` says what is to be allowed"
        )
    return Forbidden(f"{url} does not let this user do what TTG needs: {acl_advice(missing)}")


def acl_advice(missing: Sequence[str]) -> str:
    """What an administrator is to do."""
    rules = " ".join(name if name.startswith("~") else f"+{name}" for name in missing)
    return f"ACL SETUSER <user> {rules}"


def _in_a_cluster(text: str, url: str, keys: Keys) -> str:
    space = keys.namespace
    if not keys.are_together:
        return f"{url} is of a Redis Cluster ({text}): keep TTG's keys on one node, by TTG_NAMESPACE='{{{space}}}'"
    return f"{url} is of a Redis Cluster, which has database 0 only: leave the number out of the URL"


ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "CLUSTERDOWN", "MOVED")
"""Errors of a server that is not, or no longer, the one to talk to: what is connected to it stays wrong."""

PASSING = (*ELSEWHERE, "NOREPLICAS", "TRYAGAIN", "ASK ", "BUSY ", "ERR max number of clients")
"""Errors of servers that will be well again by themselves."""
