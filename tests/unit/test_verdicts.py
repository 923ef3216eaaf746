"""What each error of each broker means: who waits, who ends, and which connections are left. The words are the servers'
own; that they say them is shown with real servers (docs/failures.md)."""

from __future__ import annotations

import asyncio
import errno
import ssl

import pytest
from pika import exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed, AMQPConnectorAMQPHandshakeError

from ttg.backoff import Backoff
from ttg.brokers.base import BrokerConfig
from ttg.brokers.rabbitmq.connection import (
    AcknowledgementTimeout,
    OtherArguments,
    QueueBusy,
    QueueDown,
    QueueGone,
    connect_error,
    translate,
)
from ttg.brokers.rabbitmq.publisher import Stalled
from ttg.brokers.redis.connection import ServerError
from ttg.brokers.redis.keys import Keys
from ttg.brokers.redis.pool import ELSEWHERE, translated
from ttg.errors import AccessRefused, BrokerError, BrokerFull, BrokerRefused, BrokerUnavailable

WAITS, ENDS, ENDS_BEFORE = "waits", "ends", "ends if never let in, else waits"
LEAVES, STAYS = "the connection is closed", "the connection is used on"


def verdict_on(error: BrokerError) -> str:
    """What ``Backoff`` makes of it, before and after the first success."""

    async def ask() -> tuple[bool, bool]:
        new, well = (Backoff("test", lambda text, recovered: None) for _ in range(2))
        well.was_well = True
        return new.is_final(error), well.is_final(error)

    return {(False, False): WAITS, (True, False): ENDS_BEFORE, (True, True): ENDS}[asyncio.run(ask())]


def redis_error(cause: Exception) -> BrokerError:
    with pytest.raises(BrokerError) as raised, translated(BrokerConfig("redis://u:p@host"), Keys("ttg")):
        raise cause
    return raised.value


@pytest.mark.parametrize(
    ("said", "kind", "verdict", "connection"),
    [
        ("READONLY You can't write against a read only replica.", BrokerUnavailable, WAITS, LEAVES),
        ("READONLY replica-of 10.0.0.2:6379", BrokerUnavailable, WAITS, LEAVES),
        ("LOADING Redis is loading the dataset in memory", BrokerUnavailable, WAITS, LEAVES),
        ("MASTERDOWN Link with MASTER is down", BrokerUnavailable, WAITS, LEAVES),
        ("UNBLOCKED force unblock from blocking operation, instance state changed", BrokerUnavailable, WAITS, LEAVES),
        ("CLUSTERDOWN Hash slot not served", BrokerUnavailable, WAITS, LEAVES),
        ("NOREPLICAS Not enough good replicas to write.", BrokerUnavailable, WAITS, STAYS),
        ("TRYAGAIN Multiple keys request during rehashing of slot", BrokerUnavailable, WAITS, STAYS),
        ("ASK 3999 127.0.0.1:6381", BrokerUnavailable, WAITS, STAYS),
        ("BUSY Redis is busy running a script.", BrokerUnavailable, WAITS, STAYS),
        ("ERR max number of clients reached", BrokerUnavailable, WAITS, STAYS),
        ("OOM command not allowed when used memory > 'maxmemory'.", BrokerFull, WAITS, STAYS),
        ("MISCONF Errors writing to the AOF file: No space left on device", BrokerFull, WAITS, STAYS),
        ("NOAUTH Authentication required.", AccessRefused, ENDS, STAYS),
        ("WRONGPASS invalid username-password pair or user is disabled.", AccessRefused, ENDS, STAYS),
        ("NOPERM this user has no permissions to run the 'xadd' command", AccessRefused, ENDS, STAYS),
        ("ERR The user executing the script can't run this command or subcommand", AccessRefused, ENDS, STAYS),
        ("MOVED 3999 127.0.0.1:6381", BrokerRefused, ENDS_BEFORE, LEAVES),  # the keys are on several nodes
        ("CROSSSLOT Keys in request don't hash to the same slot", BrokerRefused, ENDS_BEFORE, STAYS),
        ("ERR SELECT is not allowed in cluster mode", BrokerRefused, ENDS_BEFORE, STAYS),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", BrokerRefused, ENDS_BEFORE, STAYS),
        ("ERR unknown command 'XADD'", BrokerRefused, ENDS_BEFORE, STAYS),
    ],
)
def test_what_a_redis_server_says(said: str, kind: type[BrokerError], verdict: str, connection: str) -> None:
    error = redis_error(ServerError(said))
    assert type(error).__mro__.index(kind) <= 1, f"{type(error)}"
    assert verdict_on(error) == verdict
    assert said.startswith(ELSEWHERE) is (connection == LEAVES)
    assert "u:p" not in str(error)


def test_with_a_hash_tag_moved_says_who_has_the_keys_now() -> None:
    with pytest.raises(BrokerUnavailable), translated(BrokerConfig("redis://host"), Keys("{ttg}")):
        raise ServerError("MOVED 3999 127.0.0.1:6381")


@pytest.mark.parametrize(
    ("cause", "verdict"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), WAITS),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), WAITS),
        (TimeoutError("no answer within 6 s"), WAITS),
        (OSError(errno.EHOSTUNREACH, "no route"), WAITS),
        (ssl.SSLCertVerificationError("self-signed certificate"), ENDS_BEFORE),
    ],
)
def test_what_the_network_says_of_redis(cause: OSError, verdict: str) -> None:
    assert verdict_on(redis_error(cause)) == verdict


def by_broker(code: int, text: str, *, channel: bool = False) -> exceptions.AMQPError:
    return (exceptions.ChannelClosedByBroker if channel else exceptions.ConnectionClosedByBroker)(code, text)


@pytest.mark.parametrize(
    ("cause", "kind", "verdict"),
    [
        (by_broker(320, "CONNECTION_FORCED - broker forced connection closure"), BrokerUnavailable, WAITS),
        (by_broker(403, "ACCESS_REFUSED - access to queue 'q' refused", channel=True), AccessRefused, ENDS),
        (by_broker(404, "NOT_FOUND - no queue 'q' in vhost '/'", channel=True), QueueGone, WAITS),
        (by_broker(404, "NOT_FOUND - home node of 'q' is down or inaccessible", channel=True), QueueDown, WAITS),
        (by_broker(405, "RESOURCE_LOCKED - exclusive queue", channel=True), QueueBusy, WAITS),
        (by_broker(406, "PRECONDITION_FAILED - inequivalent arg 'x'", channel=True), OtherArguments, ENDS_BEFORE),
        (by_broker(406, "PRECONDITION_FAILED - unknown delivery tag 7", channel=True), BrokerUnavailable, WAITS),
        (
            by_broker(406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out", channel=True),
            AcknowledgementTimeout,
            WAITS,
        ),
        (
            by_broker(406, "PRECONDITION_FAILED - message size 9 is larger than configured max size 8", channel=True),
            BrokerRefused,
            ENDS_BEFORE,
        ),
        (by_broker(504, "CHANNEL_ERROR - expected 'channel.open'"), BrokerUnavailable, WAITS),
        (by_broker(505, "UNEXPECTED_FRAME"), BrokerUnavailable, WAITS),
        (by_broker(530, "NOT_ALLOWED - number of channels opened has reached the limit"), BrokerRefused, ENDS_BEFORE),
        (by_broker(540, "NOT_IMPLEMENTED - basic.nack not supported by stream queues"), BrokerUnavailable, WAITS),
        (by_broker(541, "INTERNAL_ERROR - stream queues unsupported during failover"), BrokerUnavailable, WAITS),
        (exceptions.ConnectionBlockedTimeout("blocked"), BrokerFull, WAITS),
        (exceptions.AMQPHeartbeatTimeout("no activity or too many missed heartbeats"), BrokerUnavailable, WAITS),
        (exceptions.StreamLostError("Transport indicated EOF"), BrokerUnavailable, WAITS),
        (exceptions.ConnectionWrongStateError("closing"), BrokerUnavailable, WAITS),
    ],
)
def test_what_ends_a_channel_or_a_connection_of_rabbitmq(
    cause: BaseException, kind: type[BrokerError], verdict: str
) -> None:
    error = translate(cause)
    assert type(error) is kind
    assert verdict_on(error) == verdict


def test_a_queue_that_confirms_nothing_is_waited_for() -> None:
    assert verdict_on(Stalled(["ttg.tasks"])) == WAITS


LOST = repr(exceptions.StreamLostError("Transport indicated EOF"))


@pytest.mark.parametrize(
    ("cause", "verdict"),
    [
        (exceptions.IncompatibleProtocolError(LOST), WAITS),
        (exceptions.ProbableAuthenticationError(LOST), WAITS),
        (exceptions.ProbableAccessDeniedError(LOST), WAITS),
        (exceptions.ProbableAccessDeniedError(repr(by_broker(541, "INTERNAL_ERROR - vhost 'v' is down"))), WAITS),
        (
            exceptions.ProbableAccessDeniedError(repr(by_broker(530, "NOT_ALLOWED - connection limit (5) is reached"))),
            WAITS,
        ),
        (exceptions.ProbableAccessDeniedError(repr(by_broker(530, "NOT_ALLOWED - vhost v not found"))), ENDS_BEFORE),
        (exceptions.ProbableAuthenticationError(repr(by_broker(403, "ACCESS_REFUSED - Login was refused"))), ENDS),
        (exceptions.AuthenticationError("PLAIN"), ENDS),
        (ssl.SSLCertVerificationError("self-signed certificate"), ENDS_BEFORE),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), WAITS),
        (TimeoutError("timed out"), WAITS),
    ],
)
def test_what_keeps_a_connection_to_rabbitmq_from_opening(cause: BaseException, verdict: str) -> None:
    """pika wraps it twice."""
    wrapped = AMQPConnectionWorkflowFailed([AMQPConnectorAMQPHandshakeError(cause)])
    error = connect_error(wrapped, "amqp://u:***@host")
    assert verdict_on(error) == verdict
    if verdict == WAITS and "ClosedByBroker" in str(cause):
        assert "reached" in str(error) or "down" in str(error), "what the broker said is told"
