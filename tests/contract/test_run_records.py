"""Who a run is and who leads it: one record per id, changed by compare-and-set, the same on every broker."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec
import pytest
from backends import Clients
from making import died, done, tasks

from ttg.brokers import base
from ttg.brokers.base import Broker
from ttg.clock import unix_time
from ttg.errors import RunConflictError
from ttg.messages import RunRecord, RunStatus
from ttg.messages.records import cancelled, claimed, ended, renewed
from waiting import eventually

SPEC = b'{"name":"x"}'


def record(run: str = "daily", identity: str = "aaaa", **fields: Any) -> RunRecord:
    now = unix_time()
    facts = {"coordinator": f"c-{identity}", "host": "here", "pid": 7, "started": now, "renewed": now, **fields}
    return RunRecord(run=run, identity=identity, **facts)


async def claim(broker: Broker, wanted: RunRecord, spec: bytes = SPEC) -> RunRecord:
    found = await broker.change_run(wanted.run, partial(claimed, wanted=wanted), spec)
    assert found is not None
    return found


async def test_a_claimed_run_is_known_to_everybody(clients: Clients) -> None:
    one, two = await clients("one"), await clients("two")
    assert await two.find_run("daily") is None
    assert await two.list_runs() == []
    mine = await claim(one, record())
    assert await two.find_run("daily", fresh=True) == mine
    assert await two.find_spec(mine) == SPEC
    await claim(one, record("other", "bbbb"))
    assert sorted(found.run for found in await eventually(two.list_runs, lambda runs: len(runs) == 2)) == [
        "daily",
        "other",
    ]


async def test_an_id_in_use_is_refused_with_who_and_where(clients: Clients) -> None:
    one, two = await clients("one"), await clients("two")
    mine = await claim(one, record(function="sim.py:plus", size=2000))
    with pytest.raises(RunConflictError, match=r"'daily' is in use: sim.py:plus, 2,000 .* process 7 on here since 20"):
        await claim(two, record(identity="bbbb"), b"{}")
    assert await two.find_run("daily", fresh=True) == mine
    assert await two.find_spec(mine) == SPEC


async def test_of_many_who_claim_one_id_at_once_one_gets_it(clients: Clients) -> None:
    brokers = [await clients(f"c{number}") for number in range(6)]
    wanted = [record(identity=f"{number:04x}") for number in range(6)]
    claims = (claim(broker, mine) for broker, mine in zip(brokers, wanted, strict=True))
    found = await asyncio.gather(*claims, return_exceptions=True)
    winners = [won for won in found if isinstance(won, RunRecord)]
    assert len(winners) == 1
    assert all(isinstance(lost, RunConflictError) for lost in found if lost not in winners)
    for broker in brokers:
        assert await broker.find_run("daily", fresh=True) == winners[0]


async def test_the_same_run_gets_a_newer_epoch_and_the_older_coordinator_sees_it(clients: Clients) -> None:
    one, two = await clients("one"), await clients("two")
    first = await claim(one, record(results_from="17"))
    second = await claim(two, record(coordinator="newer", results_from="99"))
    assert (first.epoch, second.epoch) == (1, 2)
    assert second.results_from == "17"
    seen = await one.change_run("daily", partial(renewed, mine=first, now=unix_time()))
    assert seen == second
    assert not second.is_led_by(first)


async def test_a_run_with_another_fingerprint_is_not_resumed(broker: Broker) -> None:
    await claim(broker, record(fingerprint="f1"))
    with pytest.raises(RunConflictError, match="another function"):
        await claim(broker, record(fingerprint="f2"))
    forced = await broker.change_run("daily", partial(claimed, wanted=record(fingerprint="f2"), force=True), SPEC)
    assert forced is not None
    assert forced.epoch == 2


async def test_a_finished_or_abandoned_run_leaves_its_id_free(broker: Broker) -> None:
    mine = await claim(broker, record())
    await broker.change_run("daily", partial(ended, mine=mine, status=RunStatus.FINISHED, now=1.0, kept_bytes=0))
    yours = await claim(broker, record(identity="bbbb"), b"{}")
    assert await broker.find_run("daily", fresh=True) == yours
    assert await broker.find_spec(yours) == b"{}"
    late = await broker.change_run("daily", partial(ended, mine=mine, status=RunStatus.FAILED, now=2.0, kept_bytes=0))
    assert late == yours
    ghost = msgspec.structs.replace(yours, renewed=unix_time() - 40.0)
    await broker.change_run("daily", lambda current: ghost)
    assert (await claim(broker, record(identity="cccc"))).identity == "cccc"


async def test_renewing_is_seen_and_its_absence_too(broker: Broker) -> None:
    mine = await claim(broker, record(lease_seconds=15.0))
    assert mine.status_at(mine.renewed + 14.0) is RunStatus.ACTIVE
    assert mine.status_at(mine.renewed + 40.0) is RunStatus.ABANDONED
    assert mine.silent_seconds(mine.renewed + 40.0) == 40.0
    later = await broker.change_run("daily", partial(renewed, mine=mine, now=mine.renewed + 30.0))
    assert later is not None
    assert later.status_at(mine.renewed + 40.0) is RunStatus.ACTIVE


async def test_a_cancelled_run_is_not_renewed_back_to_life(broker: Broker) -> None:
    mine = await claim(broker, record())
    await broker.change_run("daily", partial(cancelled, now=unix_time()))
    seen = await broker.change_run("daily", partial(renewed, mine=mine, now=unix_time()))
    assert seen is not None
    assert seen.status is RunStatus.CANCELLED


async def test_what_is_over_leaves_and_what_is_not_stays(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "RESULTS_KEPT_BYTES", 200)
    broker = await clients("worker", lease_seconds=60.0)
    now = unix_time()
    for number in range(5):
        run = f"r{number}"
        mine = await claim(broker, record(run, run))
        await broker.submit(tasks(2, run))
        for _ in range(2):
            (delivery,) = await broker.lease(1, 5.0)
            await broker.settle([done(delivery) if delivery.task.id == "t0" else died(delivery)])
        if number < 4:
            over = partial(ended, mine=mine, status=RunStatus.FINISHED, now=now - 10 + number, kept_bytes=100)
            await broker.change_run(run, over)
    assert await broker.retire_runs(keep_seconds=3600.0) == ["r1", "r0"]
    assert sorted(found.run for found in await eventually(broker.list_runs, lambda runs: len(runs) == 3)) == [
        "r2",
        "r3",
        "r4",
    ]
    assert await broker.retire_runs(keep_seconds=5.0) == ["r3", "r2"]
    assert [found.run for found in await eventually(broker.list_runs, lambda runs: len(runs) == 1)] == ["r4"]
    assert await broker.read_results(None, 10, 0.5, "r4")


async def test_forgetting_a_run_does_not_touch_another_with_its_id(broker: Broker) -> None:
    first = await claim(broker, record())
    await broker.change_run("daily", partial(ended, mine=first, status=RunStatus.FINISHED, now=1.0, kept_bytes=0))
    second = await claim(broker, record(identity="bbbb"))
    await broker.submit(tasks(1, "bbbb"))
    await broker.forget_run(first)
    await broker.purge(first)
    assert await broker.find_run("daily", fresh=True) == second
    assert await broker.find_spec(second) == SPEC
    (delivery,) = await broker.lease(1, 5.0)
    assert delivery.task.identity == "bbbb"


async def test_a_new_run_starts_reading_where_it_began(clients: Clients) -> None:
    broker = await clients("worker", lease_seconds=60.0)
    assert await broker.results_end() == ""
    await broker.submit(tasks(3, "old"))
    for _ in range(3):
        (delivery,) = await broker.lease(1, 5.0)
        await broker.settle([done(delivery)])
    end = await broker.results_end()
    await broker.submit(tasks(2, "new"))
    for _ in range(2):
        (delivery,) = await broker.lease(1, 5.0)
        await broker.settle([done(delivery)])
    found = await broker.read_results(end, 10, 5.0)
    assert {message.header.run for message in found} == {"new"}
    assert {
        message.header.task
        for message in await eventually(lambda: broker.read_results(end, 10, 1.0), lambda page: len(page) == 2)
    } == {"t0", "t1"}


async def test_a_run_that_somebody_took_up_meanwhile_is_not_forgotten(broker: Broker) -> None:
    mine = await claim(broker, record())
    over = await broker.change_run("daily", partial(ended, mine=mine, status=RunStatus.FAILED, now=1.0, kept_bytes=0))
    assert over is not None
    resumed = await claim(broker, record(coordinator="again"))
    await broker.submit(tasks(1, "aaaa"))
    await broker.forget_run(over)
    assert await broker.find_run("daily", fresh=True) == resumed
    assert await broker.find_spec(resumed) == SPEC
    (delivery,) = await broker.lease(1, 5.0)
    assert await broker.settle([done(delivery)]) == [True]
