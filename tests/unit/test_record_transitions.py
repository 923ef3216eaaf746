"""What a run's record may become. Pure: the brokers only make it true."""

from __future__ import annotations

import msgspec
import pytest

from ttg.brokers.base import ResultMessage
from ttg.brokers.redis.retention import ENTRY_BYTES, Retention
from ttg.errors import MessageError, RunConflictError
from ttg.messages import ResultHeader, RunRecord, RunStatus, decode, encode
from ttg.messages.records import DRAINED_KEPT, cancelled, claimed, drained, ended, paused, renewed

NOW = 1_900_000_000.0


def record(identity: str = "a", **fields: object) -> RunRecord:
    facts = {"coordinator": "c", "host": "h", "pid": 1, "started": NOW, "renewed": NOW, "lease_seconds": 10.0}
    return RunRecord(run="r", identity=identity, **{**facts, **fields})  # type: ignore[arg-type]


def test_a_free_id_is_claimed_as_wanted() -> None:
    assert claimed(None, record()) == record()


@pytest.mark.parametrize("status", [status for status in RunStatus if status is not RunStatus.ACTIVE])
def test_the_id_of_a_run_that_nobody_leads_is_free_for_another(status: RunStatus) -> None:
    assert claimed(record(status=status), record("b")) == record("b")


def test_the_id_of_a_run_that_is_led_is_refused_until_its_lease_is_out() -> None:
    with pytest.raises(RunConflictError, match="in use"):
        claimed(record(), record("b", renewed=NOW + 10.0))
    assert claimed(record(), record("b", renewed=NOW + 10.1)).identity == "b"


def test_a_resumed_run_keeps_its_beginning_and_counts_on() -> None:
    before = record(epoch=3, results_from="12", started=NOW - 50)
    after = claimed(before, record(coordinator="d", results_from="99"))
    assert (after.epoch, after.results_from, after.started, after.coordinator) == (4, "12", NOW - 50, "d")
    assert claimed(before, record(epoch=9)).epoch == 9


def test_only_its_leader_renews_and_ends_a_run() -> None:
    mine = record()
    assert renewed(mine, mine, NOW + 5) == record(renewed=NOW + 5)
    for other in (record("b"), record(epoch=2), record(coordinator="d")):
        assert renewed(other, mine, NOW + 5) == other
        assert ended(other, mine, RunStatus.FINISHED, NOW + 5, 7) == other
    assert renewed(None, mine, NOW) is None
    over = ended(mine, mine, RunStatus.FINISHED, NOW + 5, 7)
    assert (over.status, over.ended, over.kept_bytes) == (RunStatus.FINISHED, NOW + 5, 7)
    assert ended(None, mine, RunStatus.FAILED, NOW, 0).status is RunStatus.FAILED


def test_a_run_is_paused_and_its_workers_are_drained_while_it_goes_on() -> None:
    still = drained(paused(record(), True), "w1")
    assert still == paused(still, True) == record(paused=True, pauses=1, drained=("w1",))
    assert drained(still, "w1") == still
    assert renewed(still, record(), NOW + 5) == record(paused=True, pauses=1, drained=("w1",), renewed=NOW + 5)
    assert paused(still, False) == record(pauses=1, drained=("w1",))
    over = ended(still, record(), RunStatus.FINISHED, NOW, 0)
    assert (over.paused, over.drained, paused(over, True), drained(over, "w2")) == (False, (), over, over)
    assert not claimed(still, record(coordinator="d")).paused, "whoever resumes a run wants it to go on"
    assert paused(None, True) is drained(None, "w") is None
    many = record(drained=tuple(f"w{number}" for number in range(DRAINED_KEPT)))
    assert len(drained(many, "new").drained) == DRAINED_KEPT  # type: ignore[union-attr]


def test_what_is_cancelled_or_finished_stays_so() -> None:
    gone = cancelled(record(), NOW)
    assert gone is not None
    assert renewed(gone, record(), NOW) == gone
    finished = record(status=RunStatus.FINISHED)
    assert cancelled(finished, NOW) == finished
    assert cancelled(None, NOW) is None


def test_statuses_say_what_can_be_done() -> None:
    assert {status for status in RunStatus if status.is_finished} == {
        RunStatus.FINISHED,
        RunStatus.FINISHED_WITH_DEAD_LETTERS,
    }
    assert {status for status in RunStatus if status.is_resumable} == {
        RunStatus.INTERRUPTED,
        RunStatus.CANCELLED,
        RunStatus.FAILED,
        RunStatus.ABANDONED,
    }
    assert RunStatus.FINISHED_WITH_DEAD_LETTERS.words == "finished with dead letters"


def test_a_record_with_an_unknown_status_is_not_guessed() -> None:
    text = encode(record()).replace(b'"identity"', b'"status":"paused","identity"')
    with pytest.raises(MessageError, match="status"):
        decode(text, RunRecord)
    assert msgspec.structs.asdict(decode(encode(record()), RunRecord)) == msgspec.structs.asdict(record())


# ---------------------------------------------------------------------------------------------- what a reader may drop


def messages(count: int, size: int = 1000) -> list[ResultMessage]:
    header = ResultHeader("r", "t", (), 1, "w", 0, 1.0, 0.5)
    return [ResultMessage(f"{number}-0", header, b"x" * (size - ENTRY_BYTES)) for number in range(1, count + 1)]


def test_what_was_collected_may_be_dropped_but_for_the_newest() -> None:
    retention = Retention()
    retention.saw(messages(10))
    assert retention.droppable("8-0", keep_bytes=3000, limit=100) == [f"{number}-0" for number in range(1, 6)]
    assert retention.droppable("8-0", keep_bytes=3000, limit=2) == ["1-0", "2-0"]
    assert retention.droppable("8-0", keep_bytes=0, limit=100)[-1] == "8-0"
    assert retention.kept_bytes == 10_000


def test_nothing_is_forgotten_before_the_server_has_dropped_it() -> None:
    retention = Retention()
    retention.saw(messages(4))
    first = retention.droppable("4-0", keep_bytes=0, limit=3)
    assert retention.droppable("4-0", keep_bytes=0, limit=3) == first
    retention.dropped(len(first))
    assert retention.droppable("4-0", keep_bytes=0, limit=3) == ["4-0"]
    assert retention.kept_bytes == 1000


def test_an_entry_that_is_read_again_counts_once() -> None:
    retention = Retention()
    retention.saw(messages(3))
    retention.saw(messages(4))
    assert retention.kept_bytes == 4000
