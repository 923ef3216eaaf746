"""Brokers: interchangeable transports behind one contract (:mod:`ttg.brokers.base`).

:func:`connect` picks the implementation by the URL's scheme and imports only that one.
"""

from __future__ import annotations

from ttg.brokers.base import Broker, BrokerConfig, backend_of


def connect(config: BrokerConfig, consumer: str) -> Broker:
    """A broker client for ``config.url``, not yet opened; nothing is sent before ``open()``.

    Raises :class:`~ttg.errors.SettingsError` when no broker speaks the URL's scheme.
    """
    backend = backend_of(config.url)
    if backend == "redis":
        from ttg.brokers.redis import RedisBroker

        return RedisBroker(config, consumer)
    if backend == "rabbitmq":
        from ttg.brokers.rabbitmq import RabbitMQBroker

        return RabbitMQBroker(config, consumer)
    from ttg.brokers.memory import MemoryBroker, MemoryServer

    return MemoryBroker(config, consumer, MemoryServer.named(config.url))
