"""The workers that a coordinator counts on are those it has heard of lately."""

from __future__ import annotations

from ttg.messages import SlotState, WorkerHeartbeat, WorkerStopped
from ttg.run.fleet import Fleet

INTERVAL = 2.0


def beat(worker: str, slots: int = 2, holding: tuple[str, ...] = ()) -> WorkerHeartbeat:
    states = tuple(SlotState(number, "idle", 0.0) for number in range(slots))
    return WorkerHeartbeat(
        at=0.0, source=worker, worker=worker, host="h", pid=1, state="working", interval=INTERVAL, slots=states,
        holding=holding, done=0, failed=0, tasks=0, started=0.0,
    )  # fmt: skip


def test_slots_are_those_of_the_workers_heard_of() -> None:
    fleet = Fleet(expected_slots=5)
    assert fleet.slots == 5
    assert fleet.saw(beat("a"), 0.0)
    assert not fleet.saw(beat("a"), 1.0)
    assert fleet.saw(beat("b", slots=3), 1.0)
    assert (len(fleet), fleet.slots) == (2, 5)


def test_a_silent_worker_is_forgotten_and_one_that_speaks_is_not() -> None:
    fleet = Fleet(expected_slots=1)
    fleet.saw(beat("silent", slots=4, holding=("r/one/t1",)), 0.0)
    fleet.saw(beat("speaks"), 0.0)
    fleet.saw(beat("speaks"), 3 * INTERVAL)
    fleet.forget_silent(3 * INTERVAL + 0.9)
    assert len(fleet) == 2, "three heartbeats may be late, and a second besides"
    fleet.forget_silent(3 * INTERVAL + 1.1)
    assert set(fleet.beats) == {"speaks"}
    assert fleet.slots == 2
    assert not fleet.holds("one")


def test_a_worker_that_says_goodbye_is_forgotten_at_once() -> None:
    fleet = Fleet()
    fleet.saw(beat("a", holding=("r/one/t1",)), 0.0)
    assert fleet.holds("one")
    assert not fleet.holds("r")
    fleet.saw(WorkerStopped(at=0.0, source="a", worker="a", reason="drained", tasks=1, done=1), 1.0)
    assert not fleet.holds("one")
    assert len(fleet) == 0
