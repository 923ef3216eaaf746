"""Trouble is passing until proven final, and it is over when no call has it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ttg import backoff
from ttg.backoff import Backoff
from ttg.errors import AccessRefused, BrokerFull, BrokerRefused, BrokerUnavailable, TTGError


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.001)
    monkeypatch.setattr(backoff, "LAST_SECONDS", 0.001)


def failing(*errors: TTGError) -> Callable[[], Coroutine[Any, Any, str]]:
    """A verb that raises these, one after the other, and then succeeds."""
    left = list(errors)

    async def verb() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return verb


def telling() -> tuple[Backoff, list[bool], asyncio.Event]:
    """One that notes what it tells, and when it tells something for the first time."""
    told: list[bool] = []
    spoke = asyncio.Event()

    def on_trouble(_text: str, recovered: bool) -> None:
        told.append(recovered)
        spoke.set()

    return Backoff("test", on_trouble), told, spoke


async def test_passing_trouble_is_waited_out_and_told_once() -> None:
    waiting, told, _ = telling()
    assert await waiting.call(failing(*[BrokerUnavailable("away")] * 3)) == "done"
    assert told == [False, True]


@pytest.mark.parametrize("error", [AccessRefused("password"), BrokerRefused("other arguments")])
async def test_who_was_never_let_in_is_refused(error: BrokerRefused) -> None:
    with pytest.raises(BrokerRefused):
        await telling()[0].call(failing(error))


async def test_who_was_let_in_once_is_refused_by_a_login_only() -> None:
    waiting, _, _ = telling()
    await waiting.call(failing())
    assert await waiting.call(failing(BrokerRefused("a node is starting"))) == "done"
    with pytest.raises(AccessRefused):
        await waiting.call(failing(AccessRefused("password")))


async def test_that_one_verb_works_does_not_cure_another() -> None:
    waiting, told, spoke = telling()
    cured = asyncio.Event()

    async def publish() -> None:
        if not cured.is_set():
            raise BrokerUnavailable("the connection that publishes")

    stuck = asyncio.create_task(waiting.call(publish))
    await spoke.wait()
    for _ in range(20):
        await waiting.call(failing())
    assert (told, waiting.in_trouble) == ([False], True)
    cured.set()
    await stuck
    assert (told, waiting.in_trouble) == ([False, True], False)


async def test_a_call_that_was_given_up_is_no_trouble_any_more() -> None:
    waiting, told, spoke = telling()
    stuck = asyncio.create_task(waiting.call(failing(*[BrokerFull("full")] * 1_000_000)))
    await spoke.wait()
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    assert not waiting.in_trouble
    await waiting.call(failing())
    assert told == [False, True]
