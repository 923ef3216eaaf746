"""The server goes away and comes back: the same client goes on."""

from __future__ import annotations

import asyncio

import pytest
from backends import Backend, Clients
from looking import read_all, task_ids
from making import done, tasks

from ttg.brokers.base import Broker, Delivery
from ttg.errors import BrokerUnavailable
from waiting import eventually


async def settle_everything(broker: Broker, held: list[Delivery]) -> int:
    """Work off what is on the queue; returns how many results there are. What the broker did not take stays ``held``
    and is settled again, as a worker does."""
    try:
        held += await broker.lease(100, 0.2)
        await broker.settle([done(delivery) for delivery in held])
        held.clear()
        return len(task_ids(await read_all(broker)))
    except BrokerUnavailable:
        return -1


async def test_a_server_that_is_down_is_unavailable_then_works_again(backend: Backend, clients: Clients) -> None:
    broker = await clients("worker")
    await broker.submit(tasks(20))
    held = await broker.lease(5, 5.0)
    waiting = asyncio.ensure_future(broker.read_results(None, 1, 60.0))
    await asyncio.sleep(0)
    await backend.crash()
    try:
        with pytest.raises(BrokerUnavailable):
            await broker.submit(tasks(1))
        with pytest.raises(BrokerUnavailable):
            await broker.lease(1, 0.1)
        with pytest.raises(BrokerUnavailable):
            await broker.settle([done(delivery) for delivery in held])
        with pytest.raises(BrokerUnavailable):
            await waiting
    finally:
        await backend.start_again()
    await eventually(lambda: settle_everything(broker, held), lambda results: results == 20, within_seconds=40.0)


async def test_opening_without_a_server_is_unavailable(backend: Backend, clients: Clients) -> None:
    await backend.crash()
    try:
        with pytest.raises(BrokerUnavailable):
            await clients("worker")
    finally:
        await backend.start_again()
    await eventually(lambda: results_of_a_new_client(clients), lambda results: results >= 0, within_seconds=40.0)


async def results_of_a_new_client(clients: Clients) -> int:
    try:
        return await settle_everything(await clients("another"), [])
    except BrokerUnavailable:
        return -1
