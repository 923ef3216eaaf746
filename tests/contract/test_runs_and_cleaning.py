"""Run records, figures, and cleaning up without touching what is not TTG's."""

from __future__ import annotations

from backends import Backend, Clients
from looking import dead_letters
from making import died, done, header, task, tasks

from ttg.brokers.base import Broker, BrokerStats, Delivery, Settlement
from ttg.messages import Outcome, RunRecord, Task
from waiting import eventually


def record(run: str, **fields: object) -> RunRecord:
    return RunRecord(run=run, **{"identity": run, **fields})  # type: ignore[arg-type]


async def publish(broker: Broker, wanted: RunRecord, spec: bytes | None = b'{"name":"x"}') -> RunRecord:
    """Make it the record, whatever was there."""
    found = await broker.change_run(wanted.run, lambda current: wanted, spec)
    assert found is not None
    return found


async def fill(broker: Broker, run: str) -> None:
    """One of everything: a waiting task, a leased one, a retry, a dead letter, two results, a record."""
    await publish(broker, record(run))
    await broker.submit(tasks(3, run))
    first, second, _ = await lease_three(broker, run)
    retry = Task(run, "again", first.task.ranges, attempt=2, identity=run)
    outcome = Outcome(header(first.task, ()), retries=(retry,), retry_delay_ms=60_000)
    assert await broker.settle([Settlement(first, outcome), died(second)]) == [True, True]
    await broker.submit([task(9, run)])


async def lease_three(broker: Broker, run: str = "r") -> list[Delivery]:
    """Lease three tasks of ``run``, and give back those of others that come first."""
    found: list[Delivery] = []
    while sum(delivery.task.run == run for delivery in found) < 3:
        found += await broker.lease(3, 5.0)
    others = [delivery for delivery in found if delivery.task.run != run]
    await broker.settle(
        [Settlement(other, Outcome(header(other.task, ()), remainder=(other.task,))) for other in others]
    )
    return [delivery for delivery in found if delivery.task.run == run]


def sizes(stats: BrokerStats) -> dict[str, int]:
    return {queue.name.split(".", 1)[1]: queue.messages for queue in stats.queues}


def work(stats: BrokerStats) -> dict[str, int]:
    """Without the logs."""
    return {name: count for name, count in sizes(stats).items() if name.startswith("tasks")}


async def test_figures_at_every_stage(clients: Clients) -> None:
    broker = await clients("worker", lease_seconds=60.0)
    await broker.submit(tasks(4))
    stats = await eventually(broker.stats, lambda stats: stats.queue("tasks").messages == 4)
    assert [queue.name.removeprefix(broker.config.namespace) for queue in stats.queues] == [
        ".tasks",
        ".tasks.retry",
        ".tasks.dlq",
        ".results",
        ".events",
    ]
    deliveries = await lease_three(broker)
    work = (await eventually(broker.stats, lambda stats: stats.queue("tasks").unacknowledged == 3)).queue("tasks")
    assert (work.messages, work.ready, work.unacknowledged) == (4, 1, 3)
    assert work.consumers
    await broker.settle([done(delivery) for delivery in deliveries])
    stats = await eventually(
        broker.stats, lambda stats: stats.queue("tasks").messages == 1 and stats.queue("tasks").unacknowledged == 0
    )
    assert stats.queue("results").messages == 3


async def test_consumers_are_the_living_workers(clients: Clients) -> None:
    looker, first, second = await clients("looker"), await clients("first"), await clients("second")
    assert not (await looker.stats()).queue("tasks").consumers

    async def consumers() -> int:
        for worker in (first, second):
            await worker.lease(1, 0.05)
        return (await looker.stats()).queue("tasks").consumers or 0

    await eventually(consumers, lambda count: count == 2)
    await second.close()
    await first.lease(1, 0.05)
    assert (await looker.stats()).queue("tasks").consumers == 1


async def test_purging_a_run_leaves_the_others(broker: Broker) -> None:
    await fill(broker, "mine")
    alone = sizes(await broker.stats())
    await fill(broker, "yours")
    both = work(await broker.stats())
    mine = record("mine")
    counts = await broker.purge(mine, dry_run=True)
    assert work(await broker.stats()) == both, "of its logs RabbitMQ counts what was there some seconds ago"
    assert await broker.purge(mine) == counts
    left = work(await eventually(broker.stats, lambda stats: stats.queue("tasks").messages == alone["tasks"]))
    assert left == {name: alone[name] for name in left}
    assert [found.run for found in await broker.list_runs()] == ["yours"]
    assert {found.run for found in await dead_letters(broker)} == {"yours"}
    assert {found.header.run for found in await broker.read_results(None, 100, 0.5, "yours")} == {"yours"}
    (delivery,) = await broker.lease(5, 5.0)
    assert delivery.task.run == "yours"


async def test_what_was_purged_cannot_be_settled(broker: Broker) -> None:
    await broker.submit([task()])
    (delivery,) = await broker.lease(1, 5.0)
    await broker.purge(record("r"))
    assert await broker.renew([delivery]) in ([], [delivery])
    assert await broker.settle([done(delivery)]) == [False]


async def test_purging_everything_touches_nothing_foreign(backend: Backend, broker: Broker) -> None:
    await backend.plant_foreign(broker.config.namespace)
    before = await backend.foreign(broker.config.namespace)
    await fill(broker, "a")
    await fill(broker, "b")
    assert await broker.purge(dry_run=True) == await broker.purge()
    assert await backend.foreign(broker.config.namespace) == before
    assert set(sizes(await broker.stats()).values()) == {0}
    assert await broker.list_runs() == []


async def test_work_goes_on_after_a_purge(broker: Broker) -> None:
    await fill(broker, "a")
    await broker.purge()
    await broker.submit([task(5, "b")])
    (delivery,) = await eventually(lambda: broker.lease(1, 1.0))
    assert await broker.settle([done(delivery)]) == [True]
    assert len(await broker.read_results(None, 10, 5.0)) == 1
