"""The demonstration's picture: what a fault changes is drawn where the fault was."""

from __future__ import annotations

import pytest

from ttg.demo.measure import Observation, TaskBar
from ttg.demo.page import _lost, _rates, timeline_svg

FAULT_AT = 5.5


def observation() -> Observation:
    """Two workers, a chunk of 10 each second; ``w2`` is killed in the middle of its sixth."""
    bars = [TaskBar("w1", 0, float(second), 1.0, 10, 0) for second in range(12)]
    bars += [TaskBar("w2", 0, float(second), 1.0, 10, 0) for second in range(5)]
    return Observation(bars=bars, fault="worker", victim="w2", fault_at=FAULT_AT, fault_share=0.5)


def test_the_rate_drops_where_the_worker_was_killed() -> None:
    points = _rates(observation())
    assert {round(rate) for at, rate in points if at < FAULT_AT} == {20}
    assert [round(rate) for at, rate in points if at == FAULT_AT] == [20, 10]
    assert {round(rate) for at, rate in points if at > FAULT_AT} == {10}


def test_what_the_victim_was_at_is_drawn_until_the_fault() -> None:
    (bar,) = _lost(observation())
    assert (bar.worker, bar.started, bar.seconds, bar.done) == ("w2", 5.0, 0.5, 5)
    assert 'class="bar lost"' in timeline_svg(observation())


@pytest.mark.parametrize("fault", ["child", "broker", None])
def test_where_no_worker_is_lost_nothing_is(fault: str | None) -> None:
    seen = observation()
    seen.fault = fault
    assert not _lost(seen)
