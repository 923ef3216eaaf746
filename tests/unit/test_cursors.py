"""Whether a log that is read on is the one that was read before."""

from __future__ import annotations

import pytest

from ttg.brokers.cursors import cursor_of, is_of_another_log
from ttg.brokers.memory.state import Log, Namespace
from ttg.messages import Task, encode

READ = cursor_of(7, b"seven")


@pytest.mark.parametrize(
    ("found", "another"),
    [
        (READ, False),
        (cursor_of(7, b"another seven"), True),  # as long as before, and other entries
        (cursor_of(8, b"eight"), False),  # what was read has left at the old end
        (cursor_of(6, b"six"), True),  # its end lies before
        ("", True),
    ],
)
def test_a_log_is_known_by_the_entry_that_was_read_last(found: str, another: bool) -> None:
    assert is_of_another_log(READ, found) is another


def test_what_was_read_of_one_log_is_not_dropped_from_another() -> None:
    read, new = Log(), Log()
    for body in (b"1", b"2", b"3"):
        read.append(body, "run")
    for body in (b"1 again", b"2 again", b"3 again", b"4 again"):
        new.append(body, "run")
    assert new.trim("run", read.end, keep_bytes=0) == 0
    assert list(new.after(read.end)) == new.entries
    new.trim("run", new.entries[1].cursor, keep_bytes=0)
    assert [entry.body for entry in new.after(None)] == [b"3 again", b"4 again"]


def test_a_redelivery_is_nobodys_death() -> None:
    here = Namespace()
    here.add_task(encode(Task("r", "0", ((0, 1),))))

    def deliveries_to(owner: str) -> int:
        leased = here.lease_next(owner, 0.0, 1.0)
        assert leased is not None
        return leased[1].deliveries

    for _ in range(5):
        assert deliveries_to("w") == 1
        assert here.redeliver("w") == 1
    assert deliveries_to("w") == 1
    here.expire("w", 2.0)
    here.take_over(2.0)
    assert deliveries_to("other") == 2
