"""How a coordinator stands with its run when a broker goes back in time."""

from __future__ import annotations

import pytest

from ttg.brokers.base import BrokerConfig
from ttg.brokers.memory import MemoryBroker, MemoryServer
from ttg.run.leadership import Leadership, Standing
from ttg.spec import FunctionRef, RunSpec

SPEC = RunSpec("r", FunctionRef("module", "m", "f"), {}, 1, ("i",), identity="abc")


@pytest.mark.parametrize("earlier", ["of another coordinator", "of the same"])
async def test_an_earlier_record_is_a_loss_and_nobody_elses(earlier: str) -> None:
    """Who led then is not who leads now: a coordinator that took it for its successor would leave the run alone."""
    server = MemoryServer()
    broker = MemoryBroker(BrokerConfig("memory://earlier"), "c", server)
    first, second = Leadership(broker, SPEC), Leadership(broker, SPEC)
    await first.claim()
    if earlier == "of the same":
        await second.claim()
    before = server.snapshot("ttg")
    await second.claim()
    assert await second.renew() is Standing.LEADS
    server.restore("ttg", before, ["runs"])
    assert (await second.look())[0] is Standing.FORGOTTEN
    await second.claim()
    assert (await second.look())[0] is Standing.LEADS
    assert (await first.look())[0] is Standing.SUPERSEDED
