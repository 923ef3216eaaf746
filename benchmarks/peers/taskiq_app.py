"""The taskiq broker and task that driver and workers share; settings arrive in the environment."""

from __future__ import annotations

import base64
import os

from taskiq.serializers import PickleSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.functions import block

URL = os.environ["BENCH_BROKER"]
IDLE_TIMEOUT_MS = 1000 if os.environ["BENCH_SETTINGS"] == "crash" else 600_000
FAIR = {"default": 100, "fast": 100, "fair": 1, "crash": 1}[os.environ["BENCH_SETTINGS"]]

broker = RedisStreamBroker(
    URL, consumer_id="0", idle_timeout=IDLE_TIMEOUT_MS, xread_count=FAIR, xread_block=500
).with_result_backend(RedisAsyncResultBackend(URL, serializer=PickleSerializer()))
broker.with_serializer(PickleSerializer())


@broker.task(task_name="block")  # type: ignore[untyped-decorator]
async def run_block(function: str, start: int, stop: int) -> tuple[int, str]:
    """Runs on the worker's event loop: the fastest way there is for work that only computes. taskiq validates what a
    task returns and knows no ``array``, so the packed floats travel as base64.
    """
    _, values = block(function, start, stop)
    return start, base64.b64encode(values.tobytes()).decode()
