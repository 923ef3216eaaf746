"""Brokers: interchangeable transports behind one contract (:mod:`ttg.brokers.base`).

:func:`connect` picks the implementation by the URL's scheme and imports only that one.
"""

from __future__ import annotations

from ttg.brokers.base import Broker, BrokerConfig
from ttg.errors import SettingsError


def connect(config: BrokerConfig, consumer: str) -> Broker:
    """A broker client for ``config.url``, not yet opened; nothing is sent before ``open()``.

    Raises :class:`~ttg.errors.SettingsError` when no broker speaks the URL's scheme.
    """
    scheme = config.url.partition("://")[0]
    if scheme in ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix"):
        from ttg.brokers.redis import RedisBroker

        return RedisBroker(config, consumer)
    if scheme in ("amqp", "amqps"):
        from ttg.brokers.rabbitmq import RabbitMQBroker

        return RabbitMQBroker(config, consumer)
    if scheme == "memory":
        from ttg.brokers.memory import MemoryBroker, MemoryServer

        return MemoryBroker(config, consumer, MemoryServer.named(config.url))
    raise SettingsError(
        f"expected a broker URL that starts with redis://, rediss://, unix://, amqp:// or amqps://, "
        f"got {config.masked_url!r}"
    )
