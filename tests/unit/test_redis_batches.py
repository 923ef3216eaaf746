"""How messages are put together to commands."""

from __future__ import annotations

from itertools import chain

from ttg.brokers.redis.batches import MOST_ARGUMENTS, SCRIPT_BYTES, batches


def test_a_batch_is_bounded_in_arguments_and_bytes_and_loses_nothing() -> None:
    small = [["run", "identity", b"task"] for _ in range(10_000)]
    found = list(batches(small))
    assert max(map(len, found)) <= MOST_ARGUMENTS
    assert list(chain.from_iterable(found)) == list(chain.from_iterable(small))
    large = [["run", "identity", bytes(SCRIPT_BYTES)] for _ in range(3)]
    assert [len(batch) for batch in batches(large)] == [3, 3, 3]
