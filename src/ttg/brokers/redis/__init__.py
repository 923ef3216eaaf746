"""Redis (≥ 7) and Valkey (≥ 8) Streams as a broker.

``pool`` talks to the server, ``membership`` makes this consumer known and finds dead ones, ``broker`` has the verbs,
``cleaning`` looks and purges; each operation is one script in ``lua/`` that says what its keys hold.
"""

from ttg.brokers.redis.broker import RedisBroker

__all__ = ["RedisBroker"]
