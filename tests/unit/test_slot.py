"""A slot whose child cannot be started: it is tried again, and nothing waits for ever."""

from __future__ import annotations

from typing import Any

import pytest

from ttg.worker import slot
from ttg.worker.leases import Leases
from ttg.worker.process import ChildOwner
from ttg.worker.slot import Slot
from waiting import eventually


class Idle:
    """A child that says nothing."""

    pid = 1


async def test_a_child_that_cannot_be_started_for_now_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "RESTART_FIRST_SECONDS", 0.001)
    refused = [OSError("no process left"), OSError("no process left")]

    def spawn(owner: ChildOwner, number: int) -> Any:
        if refused:
            raise refused.pop()
        return Idle()

    one: Any = Slot(0, Any, Leases(1), spawn)  # type: ignore[arg-type]
    one.start()
    assert one.child is None

    async def child() -> Any:
        return one.child

    assert await eventually(child)
