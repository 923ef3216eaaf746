"""The Dramatiq broker and actor that driver and workers share; settings arrive in the environment."""

from __future__ import annotations

import os

import dramatiq
import redis
from dramatiq.broker import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.encoder import PickleEncoder
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.functions import block

QUICK_RECOVERY = {"heartbeat_timeout": 1000, "maintenance_chance": 1_000_000}
"""Redis only: the shipped values wait a minute, then act on one command in a thousand."""


def make_broker() -> Broker:
    url = os.environ["BENCH_BROKER"]
    if url.startswith("amqp"):
        return RabbitmqBroker(url=url)
    return RedisBroker(url=url, **(QUICK_RECOVERY if os.environ["BENCH_SETTINGS"] == "crash" else {}))


dramatiq.set_encoder(PickleEncoder())
broker = make_broker()
# redis-py's default socket timeout of 5 s would cut short every longer wait for a result.
store = redis.Redis.from_url(os.environ["BENCH_RESULTS"], socket_timeout=None)
results = RedisBackend(client=store, encoder=PickleEncoder())
broker.add_middleware(Results(backend=results))
dramatiq.set_broker(broker)

run_block = dramatiq.actor(block, store_results=True, max_retries=3)
