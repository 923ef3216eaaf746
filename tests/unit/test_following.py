"""Following a run: each index once, whatever of it is buffered, on disk, or on its way between the two."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from results_fakes import FileRows, Grid, Run

from ttg.errors import StorageError
from ttg.results import following
from ttg.results.dataset import part_paths
from ttg.results.following import Follower, Row


def all_of(follower: Follower) -> list[Row]:
    """What there is to take now."""
    taken: list[Row] = []
    while rows := follower.take():
        taken += rows
    return taken


def indices(rows: list[Row]) -> list[int]:
    return [row["index"] for row in rows]


@pytest.mark.parametrize("space", [Grid(), FileRows()])
def test_rows_are_those_of_the_table(tmp_path: Path, space: Grid) -> None:
    run = Run(tmp_path / "r", 4, space)
    run.add(((0, 2),), worker="w1")
    buffered = all_of(Follower(run.collector))
    assert buffered[1] == {
        "index": 1, "x": 1, "y": 0.5, "result": 10.0, "seconds": 0.25, "attempt": 1, "worker": "w1",
    }  # fmt: skip
    run.flush()
    assert all_of(Follower(run.collector)) == buffered


def test_a_dead_letter_says_why_there_is_no_result(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 4)
    run.add((), dead=[2])
    (buffered,) = all_of(Follower(run.collector))
    run.flush()
    (on_disk,) = all_of(Follower(run.collector))
    assert buffered == on_disk
    assert buffered.failure == on_disk.failure
    assert on_disk.failure is not None
    assert on_disk.failure["parameters"] == {name: on_disk[name] for name in on_disk if name != "index"}
    with pytest.raises(KeyError, match=f"result: index 2 failed: {on_disk.failure['error']}: "):
        on_disk["result"]
    assert "result" not in on_disk


def test_what_was_taken_for_the_disk_is_found_there(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 10)
    follower = Follower(run.collector)
    run.add(((0, 2),))
    assert indices(all_of(follower)) == [0, 1]
    run.add(((2, 4),))
    batch = run.collector.take()
    assert batch is not None
    run.add(((4, 6),))
    assert indices(all_of(follower)) == [4, 5], "2 and 3 are nowhere to be read now"
    run.collector.commit(run.collector.write(batch))
    assert indices(all_of(follower)) == [2, 3]


def test_a_result_that_outranks_a_dead_letter_does_not_come_twice(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 10)
    follower = Follower(run.collector)
    run.add((), dead=[3])
    assert indices(all_of(follower)) == [3]
    run.add(((2, 5),))
    assert indices(all_of(follower)) == [2, 4]
    run.flush()
    assert all_of(follower) == []


@pytest.mark.parametrize("seed", range(30))
def test_each_index_once_in_any_order_of_events(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AT_ONCE", 7)
    chance, size = random.Random(seed), 120
    run = Run(tmp_path / "r", size)
    follower, rows = Follower(run.collector), list[Row]()
    cuts = sorted({0, size, *chance.sample(range(size), 12)})
    chunks = list(itertools.pairwise(cuts))
    chance.shuffle(chunks)
    for chunk in chunks:
        run.add((chunk,), dead=[]) if chance.random() < 0.7 else run.add((), dead=list(range(*chunk)))
        if chance.random() < 0.3:
            run.flush()
        for _ in range(chance.randrange(4)):
            rows += follower.take()
        if chance.random() < 0.1:
            run.collector.finalise()
    if any(run.collector.buffered):
        run.flush()
    rows += all_of(follower)
    assert sorted(indices(rows)) == list(range(size))
    assert {row["index"] for row in rows if row.failure} == set(run.collector.ledger.dead())
    late = all_of(Follower(run.collector))
    assert sorted(late, key=lambda row: row["index"]) == sorted(rows, key=lambda row: row["index"])


def test_a_part_that_cannot_be_read_now_is_read_later(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 10)
    run.add(((0, 4),))
    run.flush()
    (part,) = part_paths(run.collector.folder.results)
    whole = part.read_bytes()
    part.write_bytes(b"")
    follower = Follower(run.collector)
    with pytest.raises(StorageError):
        follower.take()
    part.write_bytes(whole)
    assert indices(all_of(follower)) == [0, 1, 2, 3]
