"""What a broker in trouble does, queue by queue, while other queues go on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from simulation.scenario import Fault, Kind
from ttg.brokers.memory import MemoryServer
from ttg.brokers.memory.server import Fate
from ttg.brokers.memory.state import PARTS, Namespace

WRITES = {
    "submit": "tasks",
    "lease": "tasks",
    "renew": "tasks",
    "settle": "results",
    "publish_events": "events",
    "swap_run": "runs",
}
NEED_ROOM = WRITES.keys() - {"lease", "renew"}
READS = {"lease": "tasks", "read_results": "results", "read_events": "events"}
STALLS = ({"confirms"}, {"delivers"}, {"confirms", "delivers"})
REDELIVERED_EVERY_SECONDS = 0.2


@dataclass(eq=False)
class Troubles:
    """Of one namespace of ``server``. The fates of verbs are asked for at ``now``, on the event loop's clock."""

    server: MemoryServer
    namespace: str
    _until: dict[Kind, float] = field(default_factory=dict)
    _stalled: dict[tuple[str, str], float] = field(default_factory=dict)

    def fate(self, verb: str, now: float) -> Fate:
        """What happens to a call of ``verb``, as far as these troubles go."""
        if verb in WRITES and now < self._until.get(Kind.READ_ONLY, 0.0):
            return Fate.READ_ONLY
        if now < self._until.get(Kind.REFUSED, 0.0):
            return Fate.REFUSED
        if verb in READS and now < self._stalled.get((READS[verb], "delivers"), 0.0):
            return Fate.SILENT
        if verb in NEED_ROOM and now < self._stalled.get((WRITES[verb], "confirms"), 0.0):
            return Fate.STALLED
        return Fate.DONE

    async def strike(self, fault: Fault, consumer: str, now: float) -> None:
        """``fault`` happens; to ``consumer``, if to anybody."""
        if fault.kind is Kind.STALL:
            self._stalled |= {(fault.queue, how): now + fault.seconds for how in STALLS[int(3 * fault.pick)]}
        elif fault.kind is Kind.REPLACE_LOG:
            self.server.restore(self.namespace, Namespace(), [fault.queue])
        elif fault.kind is Kind.FAILOVER:
            await self._fail_over(fault)
        elif fault.kind is Kind.REDELIVER:
            await self._redeliver(consumer, now + fault.seconds)
        else:
            self._until[fault.kind] = now + fault.seconds

    async def _fail_over(self, fault: Fault) -> None:
        """The writes of the next seconds will be lost, of all queues or of one."""
        old = self.server.snapshot(self.namespace)
        await asyncio.sleep(fault.seconds)
        self.server.restore(self.namespace, old, PARTS if fault.pick < 0.5 else [fault.queue])

    async def _redeliver(self, consumer: str, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            self.server.redeliver(self.namespace, consumer)
            await asyncio.sleep(REDELIVERED_EVERY_SECONDS)
