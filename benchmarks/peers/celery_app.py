"""The Celery application that driver and workers share; settings arrive in the environment."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from benchmarks.functions import block

BROKER = os.environ["BENCH_BROKER"]
QUICK_RESTORE = {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
BEST_AFTER_A_CRASH: dict[str, Any] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "broker_transport_options": QUICK_RESTORE if "redis" in BROKER else {},
}
SETTINGS = {"default": {}, "fast": {"worker_prefetch_multiplier": 4}, "fair": {"worker_prefetch_multiplier": 1}}

app = Celery("bench", broker=BROKER, backend=BROKER if "redis" in BROKER else "rpc://")
app.conf.update(
    task_serializer="pickle",
    result_serializer="pickle",
    accept_content=["pickle"],
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    **(BEST_AFTER_A_CRASH if os.environ["BENCH_SETTINGS"] == "crash" else SETTINGS[os.environ["BENCH_SETTINGS"]]),
)

run_block = app.task(name="block")(block)
