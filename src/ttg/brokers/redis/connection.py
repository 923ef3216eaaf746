"""One connection to a Redis or Valkey server: words out, the reply back.

It stands where a client library would, because TTG needs so little of one: no cluster, no retries (a write whose reply
was lost would run twice), no reply parsing, no pub/sub. Importing redis-py took each of TTG's processes about as long
as the rest of its start. The protocol itself (RESP 2) is hiredis' work.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from ttg.brokers.addresses import hosts_of
from ttg.brokers.credentials import Login
from ttg.brokers.tls import tls_context

DEFAULT_PORT = 6379
PAYLOAD_BYTES = 1 << 16
SLOWEST_BYTES_PER_SECOND = 1 << 16

REFUSALS = ("NOAUTH", "WRONGPASS", "ERR invalid password")
"""How a server begins that wants another login."""


class ServerError(Exception):
    """The server answered with an error; the text is its own, code first (``WRONGTYPE Operation against …``)."""


class LoginRefused(ServerError):
    """The answer to a user and a password."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. ``path`` is that of a unix socket, else ``host`` and ``port`` count; ``name`` is
    what its certificate is for. With ``primary`` it is a sentinel, to be asked for the server of that name."""

    host: str = ""
    name: str = ""
    primary: str = ""
    port: int = DEFAULT_PORT
    path: str = ""
    database: int = 0
    tls: Mapping[str, str] | None = None

    @classmethod
    def of(cls, url: str, tls: Mapping[str, str]) -> Address:
        """From ``redis[s]://[user:password@]host[:port][,…][/db]``, ``redis[s]+sentinel://…/primary[/db]`` or
        ``unix://[user:password@]/path[?db=n]``, the first host of several; ``tls`` may name a ``ca_file``,
        ``cert_file`` and ``key_file``. Raises ``ValueError``."""
        parts = urlsplit(url)
        if parts.scheme == "unix":
            database = parse_qs(parts.query).get("db", ["0"])[-1]
            return cls(path=unquote(parts.path), database=int(database))
        primary, database = "", parts.path.strip("/")
        if parts.scheme.endswith("+sentinel"):
            primary, _, database = database.partition("/")
            if not primary:
                raise ValueError("expected the name of the primary after the sentinels: redis+sentinel://s1,s2/NAME")
        host, port = hosts_of(url, DEFAULT_PORT)[0] if parts.netloc else ("localhost", DEFAULT_PORT)
        return cls(
            host=unquote(host),
            port=port,
            name=unquote(host),
            primary=unquote(primary),
            database=int(database or 0),
            tls=tls if parts.scheme.startswith("rediss") else None,
        )


def _packed(words: tuple[str | bytes | int, ...]) -> list[bytes]:
    """A command as the protocol wants it; a payload in it is not copied once more for that."""
    if not any(isinstance(word, bytes) and len(word) >= PAYLOAD_BYTES for word in words):
        return [hiredis.pack_command(words)]  # type: ignore[arg-type]  # its stub knows tuples of one
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts += (b"$%d\r\n" % len(data), data, b"\r\n")
    return parts


async def connect(address: Address, login: Login, *, any_role: bool = False) -> Connection:
    """A connection, logged in: to a primary, or with ``any_role`` to any. Raises ``OSError``, :class:`ServerError`."""
    loop = asyncio.get_running_loop()
    if address.path:
        _, connection = await loop.create_unix_connection(Connection, address.path)
    else:
        secure = None if address.tls is None else tls_context(address.tls)
        name = (address.name or address.host) if secure else None
        _, connection = await loop.create_connection(
            Connection, address.host, address.port, ssl=secure, server_hostname=name
        )
    try:
        await connection.log_in(login)
        if address.database:
            await connection.ask("SELECT", address.database)
        await connection.introduce(any_role=any_role)
    except BaseException:
        connection.close()
        raise
    return connection


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """What the system has taken and the other side not yet confirmed; 0 where that cannot be asked."""
    line = transport.get_extra_info("socket")
    try:
        return int.from_bytes(fcntl.ioctl(line.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, AttributeError):
        return 0


class Connection(asyncio.Protocol):
    """Made by :func:`connect`. One command at a time; one whose caller was cancelled makes it useless: close it."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=ServerError)
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Any] | None = None
        self._lost: OSError | None = None
        self._received = self._sent = self._size = 0
        self.id: int | None = None
        self.login: Login | None = None
        self.is_in_cluster = False
        self.on_lost: Callable[[], None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the server, or somebody on the way to it, has ended the connection."""
        return self._lost is not None

    @property
    def progress(self) -> tuple[int, int, int]:
        """Changes as long as bytes come in or go out: how many wait to be sent, here or in the system, how many were
        given to it altogether, and how many were received."""
        if self._transport is None or self._transport.is_closing():
            return 0, self._sent, self._received
        unsent = self._transport.get_write_buffer_size() + _unsent_bytes(self._transport)
        return unsent, self._sent, self._received

    @property
    def passing_seconds(self) -> float:
        """How long what was sent last may be on its way unseen: proxies and networks take bytes much faster than they
        pass them on."""
        return self._size / SLOWEST_BYTES_PER_SECOND

    async def ask(self, *words: str | bytes | int) -> Any:
        """The raw reply: lists, numbers, bytes, ``None``. Raises :class:`ServerError` and ``OSError``."""
        if self._lost is not None:
            raise self._lost
        assert self._transport is not None
        self._reply = asyncio.get_running_loop().create_future()
        packed = _packed(words)
        self._size = sum(map(len, packed))
        self._sent += self._size
        self._transport.writelines(packed)
        reply = await self._reply
        if isinstance(reply, ServerError):
            raise reply
        return reply

    async def log_in(self, login: Login) -> None:
        """Say who we are, where that is asked for: at first, and again before the login expires."""
        try:
            if login.password:
                await self.ask("AUTH", *([login.user] if login.user else []), login.password)
        except ServerError as error:
            if str(error).startswith(REFUSALS):
                raise LoginRefused(str(error)) from None
            raise
        self.login = login

    async def introduce(self, *, any_role: bool = False) -> None:
        """Learn what the server is: whether it is one of a cluster, and what it calls us (``id``), unless it does not
        say. Without ``any_role``, raise ``READONLY`` when it is a replica: it would take no task, and show old results.
        Not every account may ask; it hears of it with the first write then."""
        about = await self._about_server()
        self.id, self.is_in_cluster = about.get(b"id"), about.get(b"mode") == b"cluster"
        if any_role or about.get(b"role") == b"master":
            return
        role: list[Any] = [b""]
        with suppress(ServerError):
            role = await self.ask("ROLE")
        if role[0] == b"slave":
            raise ServerError(f"READONLY replica-of {role[1].decode()}:{role[2]}")

    async def _about_server(self) -> dict[bytes, Any]:
        """What HELLO says; where that is forbidden or unknown, our id at least."""
        with suppress(ServerError):
            flat = await self.ask("HELLO")
            return dict(zip(flat[::2], flat[1::2], strict=True))
        with suppress(ServerError):
            return {b"id": await self.ask("CLIENT", "ID")}
        return {}

    def close(self) -> None:
        """Hang up."""
        self._lose(ConnectionError("the connection is closed"))
        if self._transport is not None:
            self._transport.abort()

    # -- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        line = transport.get_extra_info("socket")
        if line is not None and line.family != socket.AF_UNIX:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Part of a reply, or all of it."""
        self._received += len(data)
        try:
            self._reader.feed(data)
            reply = self._reader.gets()
        except hiredis.ProtocolError as error:
            self._lose(ConnectionError(f"it does not speak the Redis protocol: {error}"))
            self.close()
            return
        if reply is not False and self._reply is not None and not self._reply.done():
            self._reply.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """The other side hung up, or the network did."""
        self._lose(error if isinstance(error, OSError) else ConnectionError("the connection was closed"))

    def _lose(self, error: OSError) -> None:
        if self._lost is None and self.on_lost is not None:
            self.on_lost()
        self._lost = self._lost or error
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(self._lost)
            self._reply.exception()  # whoever waited may have been cancelled
