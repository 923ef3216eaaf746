"""Takes tasks and does nothing until it is killed: ``victim.py URL NAMESPACE NAME LEASE_SECONDS MOST``."""

from __future__ import annotations

import asyncio
import sys

from ttg.brokers import connect
from ttg.brokers.base import BrokerConfig


async def main(url: str, namespace: str, name: str, lease_seconds: str, most: str) -> None:
    broker = connect(BrokerConfig(url, namespace, lease_seconds=float(lease_seconds)), name)
    await broker.open()
    deliveries = await broker.lease(int(most), 30.0)
    print(len(deliveries), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
