"""Up to where the results log is collected: what may be trimmed is what is on disk, all of it and no more."""

from __future__ import annotations

from pathlib import Path

from results_fakes import Run


def test_a_part_is_collected_up_to_its_newest_message(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 10)
    messages = [run.message(((index, index + 1),)) for index in range(5)]
    for message in messages[:3]:
        run.collector.add(message)
    batch = run.collector.take()
    assert batch is not None
    for message in messages[3:]:
        run.collector.add(message)
    written = run.collector.write(batch)
    assert written.cursor == messages[2].cursor
    run.collector.commit(written)
    rest = run.collector.take()
    assert rest is not None
    assert run.collector.write(rest).cursor == messages[4].cursor


def test_a_message_that_brings_nothing_new_is_collected_as_well(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 10)
    first, again = run.message(((0, 5),)), run.message(((0, 5),))
    run.collector.add(first)
    run.collector.add(again)
    batch = run.collector.take()
    assert batch is not None
    assert run.collector.write(batch).cursor == again.cursor
