"""RabbitMQ as a broker: work queues whose channel is the lease, and streams as logs.

Read :mod:`~ttg.brokers.rabbitmq.broker` (the verbs) first; then :mod:`~ttg.brokers.rabbitmq.topology` (the queues).
"""

from ttg.brokers.rabbitmq.broker import RabbitMQBroker

__all__ = ["RabbitMQBroker"]
