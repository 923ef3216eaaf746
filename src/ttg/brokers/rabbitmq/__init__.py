"""RabbitMQ as a broker: work queues whose channel is the lease, and streams as logs.

Read :mod:`~ttg.brokers.rabbitmq.broker` (the verbs) first; then ``topology`` (the queues), ``work_queue`` (tasks and
leases), ``run_log`` (who leads which run) and ``streams`` (the logs).
"""

from ttg.brokers.rabbitmq.broker import RabbitMQBroker

__all__ = ["RabbitMQBroker"]
