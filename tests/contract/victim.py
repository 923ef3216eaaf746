"""Takes tasks and does nothing until it is killed: ``victim.py URL NAMESPACE NAME LEASE_SECONDS MOST HEARTBEAT``."""

from __future__ import annotations

import asyncio
import sys

from ttg.brokers import connect
from ttg.brokers.base import BrokerConfig


async def main(url: str, namespace: str, name: str, lease_seconds: str, most: str, heartbeat: str) -> None:
    config = BrokerConfig(url, namespace, lease_seconds=float(lease_seconds), heartbeat_seconds=float(heartbeat))
    broker = connect(config, name)
    await broker.open()
    deliveries = await broker.lease(int(most), 30.0)
    print(len(deliveries), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
