"""AMQP connections and channels, awaited. The only module that knows how pika reports success and failure.

pika is driven through its asyncio adapter: everything happens on the running event loop, callbacks become futures, and
whatever waits when a channel or a connection dies is told why, as a :class:`~ttg.errors.BrokerError`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pika
from pika import exceptions
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils import connection_workflow
from pika.channel import Channel as PikaChannel

from ttg.brokers.addresses import Addresses, ServerAddress
from ttg.brokers.base import BrokerConfig
from ttg.brokers.credentials import Login
from ttg.brokers.tls import ADVICE, asks_for_certificate, tls_context
from ttg.errors import AccessRefused, BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable, SettingsError

logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs with tracebacks what we translate and raise

ANSWER_SECONDS = 20.0
MOVING_BYTES = 1 << 16
"""More than heartbeats and answers of others take, in that time."""

SHORTEST_TIMEOUT_SECONDS = "300"  # RabbitMQ's documentation advises against a shorter consumer_timeout
NOT_FOUND, PRECONDITION_FAILED, ACCESS_REFUSED, RESOURCE_LOCKED, NOT_ALLOWED = 404, 406, 403, 405, 530

EXPIRED = ("has expired", "New secret was refused")
"""What RabbitMQ says of a token that was good when the connection was opened."""

NO_STREAMS = "TTG keeps results, events and run records in stream queues, which this broker has not"
STREAMS_ADVICE = "rabbitmqctl enable_feature_flag stream_queue, or name a Redis or Valkey where streams cannot be had"


class QueueGone(BrokerUnavailable):
    """A queue of ours does not exist (any more); declaring it again helps."""


class QueueDown(BrokerUnavailable):
    """A queue exists, but the broker has nobody to serve it: until its node is back, or for ever."""


class QueueBusy(BrokerUnavailable):
    """Somebody else has the queue for himself at the moment."""


class AcknowledgementTimeout(BrokerUnavailable):
    """A task was held for longer than the broker's ``consumer_timeout``: it closed the channel."""


class LoginExpired(BrokerUnavailable):
    """The connection's login is good no more; whether another one is, a new connection finds out."""


class OtherArguments(BrokerRefused):
    """A queue exists with other arguments than ours. ``text`` is what the broker says about it."""


def addresses_of(config: BrokerConfig) -> Addresses:
    """The nodes that the URL names. ``SettingsError`` for a URL that is not AMQP's."""
    scheme = urlsplit(config.url).scheme
    try:
        if scheme not in ("amqp", "amqps"):
            raise ValueError(f"a scheme {scheme!r} is not AMQP's")
        return Addresses(config.url, 5671 if scheme == "amqps" else 5672)
    except ValueError as error:
        expected = "expected amqp://user:password@host[:port][,host…]/vhost"
        raise SettingsError(f"{expected}, got {config.masked_url!r}: {error}") from error


def is_single_node(config: BrokerConfig) -> bool:
    """Whether ``?nodes=1`` in the URL says that this broker is one node, of which nobody but us depends: then a queue
    that serves nobody may be replaced."""
    return parse_qs(urlsplit(config.url).query).get("nodes") == ["1"]


def consumer_timeout_of(config: BrokerConfig) -> float:
    """For how many seconds this broker lets a task be held: what ``?consumer_timeout=SECONDS`` in the URL says, or what
    no broker should be below. ``SettingsError`` if that is no such time."""
    text = parse_qs(urlsplit(config.url).query).get("consumer_timeout", [SHORTEST_TIMEOUT_SECONDS])[0]
    if not text.isdecimal() or not int(text):
        raise SettingsError(f"expected ?consumer_timeout=SECONDS in the broker's URL, got {text!r}: 1800, for example")
    return float(text)


def connection_parameters(
    config: BrokerConfig, purpose: str, client: str, address: ServerAddress, login: Login
) -> pika.ConnectionParameters:
    """What pika needs to connect; ``purpose`` and ``client`` name the connection in the management UI."""
    parts = urlsplit(config.url)
    return pika.ConnectionParameters(
        host=address.ip,
        port=address.port,
        virtual_host=unquote(parts.path[1:]) or "/",
        credentials=pika.PlainCredentials(login.user, login.password),
        ssl_options=pika.SSLOptions(tls_context(config.tls), address.host) if parts.scheme == "amqps" else None,
        heartbeat=round(min(max(config.heartbeat_seconds, 5), 20)),
        socket_timeout=config.connect_timeout_seconds,
        stack_timeout=config.connect_timeout_seconds,
        client_properties={"connection_name": f"ttg {purpose} {client}"},
    )


class _PikaChannel(PikaChannel):  # type: ignore[misc,unused-ignore]
    """Gives each delivery to ``on_any_delivery``, if there is one. pika itself rejects what comes to a consumer that is
    being cancelled and drops what comes later: either way nobody holds what the broker has handed out."""

    on_any_delivery: Callable[[Any, Any, Any, bytes], None] | None = None

    def _on_deliver(self, method_frame: Any, header_frame: Any, body: bytes) -> None:
        if self.on_any_delivery is None:
            super()._on_deliver(method_frame, header_frame, body)
        else:
            self.on_any_delivery(self, method_frame.method, header_frame.properties, body)


class _PikaConnection(AsyncioConnection):  # type: ignore[misc,unused-ignore]
    """Sends what was published within one turn of the event loop as one write: a message is three frames to pika."""

    _outgoing: list[bytes]

    def _create_channel(self, channel_number: int, on_open_callback: Any) -> PikaChannel:
        return _PikaChannel(self, channel_number, on_open_callback)

    def _adapter_emit_data(self, data: bytes) -> None:
        if not getattr(self, "_outgoing", None):
            self._outgoing = []
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(data)

    def _flush(self) -> None:
        data, self._outgoing = b"".join(self._outgoing), []
        if self._transport is not None:
            super()._adapter_emit_data(data)


class AmqpConnection:
    """One AMQP connection. It closes once and never comes back: its owner makes a new one."""

    def __init__(self) -> None:
        self.closed: BrokerError | None = None
        self.blocked: asyncio.Event = asyncio.Event()
        self.on_blocked: Callable[[bool], None] = lambda _blocked: None
        self._channels: set[Channel] = set()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._connection: _PikaConnection

    @classmethod
    async def connect(cls, parameters: pika.ConnectionParameters, where: str) -> AmqpConnection:
        """Open a connection, or raise ``BrokerUnavailable`` or ``BrokerRefused``, naming ``where``. A server that
        accepts and then says nothing is given up after the timeout of ``parameters``, whatever pika makes of it."""
        ours = cls()
        pika_connection = ours._connection = _PikaConnection(
            parameters,
            on_open_callback=lambda _connection: ours._finish_opening(None),
            on_open_error_callback=lambda _connection, error: ours._finish_opening(connect_error(error, where)),
            on_close_callback=lambda _connection, error: ours._on_close(error),
        )
        pika_connection.add_on_connection_blocked_callback(lambda *_: ours._on_blocked(True))
        pika_connection.add_on_connection_unblocked_callback(lambda *_: ours._on_blocked(False))
        try:
            async with asyncio.timeout(parameters.stack_timeout):
                await ours._opened
        except asyncio.CancelledError:
            ours.abandon()
            raise
        except TimeoutError as error:
            ours.abandon()
            silent = f"did not complete the handshake within {parameters.stack_timeout:.0f} s"
            raise BrokerUnavailable(f"RabbitMQ at {where} {silent}") from error
        return ours

    def about(self, what: str) -> str:
        """How the server introduced itself: its ``product``, ``version``, ``cluster_name``."""
        said = (self._connection.server_properties or {}).get(what, "")
        return said.decode(errors="replace") if isinstance(said, bytes) else str(said)

    async def channel(self) -> Channel:
        """A new channel."""
        self.check()
        channel = Channel()
        self._channels.add(channel)
        try:
            await channel.open(self._connection)
        finally:
            if channel.closed:
                self._channels.discard(channel)
        return channel

    @property
    def unsent_bytes(self) -> int:
        """What waits here for the other side to take it."""
        transport = self._connection._transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def check(self) -> None:
        """Raise why this connection is closed, if it is."""
        if self.closed:
            raise type(self.closed)(str(self.closed))

    def renew(self, login: Login) -> None:
        """Go on with another login (an extension of RabbitMQ). One that is refused ends the connection."""
        if self._connection.is_open:
            self._connection.update_secret(login.password, "renewed")

    def abandon(self) -> None:
        """Begin to close, without waiting."""
        if not (self._connection.is_closed or self._connection.is_closing):
            self._connection.close()

    async def close(self, timeout_seconds: float = 2.0) -> None:
        """Close and wait until it is. Never raises; a server that does not answer is left after the timeout."""
        if self._opened.done() and self.closed is None:
            self.abandon()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._gone.wait()
            except TimeoutError:
                self._connection._terminate_stream(None)

    def _finish_opening(self, error: BrokerError | None) -> None:
        self.closed = error
        if self._opened.done():
            return
        if error is None:
            self._opened.set_result(None)
        else:
            self._opened.set_exception(error)

    def _on_close(self, error: BaseException) -> None:
        self.closed = translate(error)
        self._gone.set()
        self._channels.clear()

    def _on_blocked(self, blocked: bool) -> None:
        (self.blocked.set if blocked else self.blocked.clear)()
        self.on_blocked(blocked)


class Channel:
    """One AMQP channel. When it closes, for whatever reason, everything that waits on it fails with that reason."""

    def __init__(self) -> None:
        self.raw: Any = None
        self._reason: BrokerError | None = None
        self.on_close: list[Callable[[BrokerError], None]] = []
        self._waiting: set[asyncio.Future[Any]] = set()

    @property
    def closed(self) -> BrokerError | None:
        """Why nothing can be sent any more; ``None`` while something can. Who closes may not send either, while the
        broker has not answered yet."""
        if self._reason is None and self.raw is not None and self.raw.is_closing:
            return BrokerUnavailable("lost the connection to RabbitMQ: the channel is closing")
        return self._reason

    @property
    def is_receiving(self) -> bool:
        """Whether part of a message is here: a large one may take long on its way."""
        return self.closed is None and self.raw._content_assembler._method_frame is not None

    async def open(self, connection: AsyncioConnection) -> None:
        """Open on ``connection``."""
        opened = self._future()
        try:
            self.raw = connection.channel(on_open_callback=lambda _raw: self._resolve(opened, None))
        except exceptions.AMQPError as error:
            raise translate(error) from error
        self.raw.add_on_close_callback(lambda _raw, reason: self._on_close(reason))
        self.on_close.append(lambda error: connection.close() if _ends(connection, error) else None)
        await opened

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of pika's channel that the broker answers; returns the answer's frame."""
        self.check()
        answer = self._future()
        try:
            getattr(self.raw, method)(*args, callback=lambda frame: self._resolve(answer, frame), **kwargs)
        except exceptions.AMQPError as error:
            raise translate(error) from error
        if not await self._answered(answer):
            self.abandon()
            raise BrokerUnavailable(f"RabbitMQ did not answer {method} in {ANSWER_SECONDS:.0f} s")
        return await answer

    async def _answered(self, answer: asyncio.Future[Any]) -> bool:
        """Whether it came, in time; it may have to wait for large messages that are on the way before it."""
        connection = self.raw.connection
        received = connection.bytes_received
        while not (await asyncio.wait([answer], timeout=ANSWER_SECONDS))[0]:
            before, received = received, connection.bytes_received
            if received - before < MOVING_BYTES:
                return False
        return True

    def check(self) -> None:
        """Raise why this channel is closed, if it is."""
        if self.closed:
            raise type(self.closed)(str(self.closed))

    def abandon(self) -> None:
        """Close without waiting; what it held unacknowledged becomes free."""
        if self.raw is not None and self.raw.is_open:
            self.raw.close()

    async def close(self) -> None:
        """Close and wait for the broker's answer; never raises."""
        if self.closed is None and self.raw is not None:
            gone = self._future()
            self.on_close.append(lambda _error: None if gone.done() else gone.set_result(None))
            self.abandon()
            await asyncio.wait([gone])

    def _future(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    @staticmethod
    def _resolve(future: asyncio.Future[Any], value: Any) -> None:
        if not future.done():
            future.set_result(value)

    def _on_close(self, reason: BaseException) -> None:
        error = self._reason = translate(reason)
        for callback in self.on_close:
            callback(error)
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(type(error)(str(error)))


def _ends(connection: AsyncioConnection, error: BrokerError) -> bool:
    """Whether nothing will go well on a connection that is still open."""
    return isinstance(error, LoginExpired) and bool(connection.is_open)


def translate(error: BaseException) -> BrokerError:
    """Our error for one of pika's about an open connection or channel."""
    code, text = getattr(error, "reply_code", 0), getattr(error, "reply_text", str(error) or type(error).__name__)
    if code == NOT_FOUND and "down or inaccessible" in text:
        return QueueDown(f"RabbitMQ: {text}")
    if code == NOT_FOUND:
        return QueueGone(f"RabbitMQ: {text}")
    if code == PRECONDITION_FAILED and "inequivalent arg" in text:
        return OtherArguments(f"RabbitMQ: {text}")
    if code == PRECONDITION_FAILED and "acknowledgement" in text and "timed out" in text:
        advice = "it is executed again; set ?consumer_timeout=SECONDS in the broker's URL, or raise it in rabbitmq.conf"
        return AcknowledgementTimeout(f"a task was held for longer than RabbitMQ allows ({text}): {advice}")
    if code == PRECONDITION_FAILED and "larger than configured max size" in text:
        return BrokerRefused(f"RabbitMQ: {text}: raise max_message_size in rabbitmq.conf, or use smaller chunks")
    if "rabbit_stream_queue" in text and "feature flag is disabled" in text:
        return BrokerRefused(f"{NO_STREAMS} (it says: {text}): {STREAMS_ADVICE}")
    if code == RESOURCE_LOCKED:
        return QueueBusy(f"RabbitMQ: {text}")
    if code in (ACCESS_REFUSED, NOT_ALLOWED) and any(words in text for words in EXPIRED):
        return LoginExpired(f"RabbitMQ ended the login: {text}")
    if code == ACCESS_REFUSED:
        return AccessRefused(f"RabbitMQ refused: {text}: give the account configure, write and read permission")
    if code == NOT_ALLOWED:
        return BrokerRefused(f"RabbitMQ refused: {text}")  # limits of channels and the like, which may pass
    if isinstance(error, exceptions.ConnectionBlockedTimeout):
        return BrokerFull("RabbitMQ blocks publishers: memory or disk alarm")
    return BrokerUnavailable(f"lost the connection to RabbitMQ: {text}")


def connect_error(error: BaseException, where: str) -> BrokerError:
    """Our error for one of pika's about a connection that could not be opened."""
    causes = list(_causes(error))
    for cause in causes:
        if refusal := _refusal(cause, where):
            return refusal
    return BrokerUnavailable(f"RabbitMQ at {where} cannot be reached: {_hang_up(causes[-1])}")


def _causes(error: BaseException) -> Any:
    yield error
    if isinstance(error, connection_workflow.AMQPConnectionWorkflowFailed):
        yield from _causes(error.exceptions[-1])
    elif isinstance(error, connection_workflow.AMQPConnectorPhaseErrorBase):
        yield from _causes(error.exception)
    elif isinstance(error, exceptions.AMQPConnectionError) and error.args and isinstance(error.args[0], Exception):
        yield from _causes(error.args[0])


def _refusal(cause: BaseException, where: str) -> BrokerRefused | None:
    code = _refusal_code(cause)
    if isinstance(cause, exceptions.AuthenticationError) or code == ACCESS_REFUSED:
        return AccessRefused(f"RabbitMQ at {where} refused the user or the password: check both in the URL")
    if code == NOT_ALLOWED and "limit" not in str(cause):
        return BrokerRefused(
            f"RabbitMQ at {where} refused the virtual host: create it, or give the account permissions on it"
        )
    if isinstance(cause, ssl.SSLError):
        return BrokerRefused(
            f"TLS with RabbitMQ at {where} failed: {asks_for_certificate(cause, {}) or f'{cause}: {ADVICE}'}"
        )
    return None


def _refusal_code(cause: BaseException) -> int:
    """What the broker said; pika calls a hang-up and a refusal during the login by the same name, and only its text
    tells which it was."""
    if isinstance(cause, exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError):
        return next((code for code in (ACCESS_REFUSED, NOT_ALLOWED) if f"({code})" in str(cause)), 0)
    return int(getattr(cause, "reply_code", 0))


def _hang_up(cause: BaseException) -> str:
    """What a connection that was closed during the handshake may mean: a proxy or a node that is stopping does that."""
    if isinstance(cause, exceptions.IncompatibleProtocolError):
        return "it hung up before it said what it is: check host, port and amqp(s)://, if that stays so"
    if isinstance(cause, exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError):
        said = f" ({cause})" if "ClosedByBroker" in str(cause) else ""
        return f"it hung up during the login{said}: check user, password and virtual host, if that stays so"
    return str(cause) or type(cause).__name__
