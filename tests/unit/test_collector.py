"""From messages to parts: every index once, whatever comes twice, breaks or crashes."""

from __future__ import annotations

import errno
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from results_fakes import FileRows, Grid, Run, letter

from ttg.errors import MessageError, StorageError
from ttg.messages import RunStatus, ranges_of
from ttg.results import collector as collector_module
from ttg.results import dataset, reading, refusals
from ttg.results.dataset import load_ledger, open_ledger, part_paths
from ttg.results.folder import publish_file
from ttg.run.report import Finished
from ttg.space import grid


def test_rows_become_a_table_with_the_documented_columns(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 6)
    assert run.add(((0, 2), (4, 6)), worker="w1") == (4, 0, 0)
    assert run.add(((2, 4),), seconds=[1.0, 2.0], worker="w2", attempt=2) == (2, 0, 0)
    run.flush()
    run.collector.finalise()
    table = reading.table(run.folder)
    assert table.schema.names == ["index", "x", "y", "result", "seconds", "attempt", "worker"]
    assert table.to_pydict() == {
        "index": [0, 1, 2, 3, 4, 5],
        "x": [0, 1, 2, 3, 4, 5],
        "y": [0.0, 0.5, 1.0, 1.5, 2.0, 2.5],
        "result": [0.0, 10.0, 20.0, 30.0, 40.0, 50.0],
        "seconds": [0.25, 0.25, 1.0, 2.0, 0.25, 0.25],
        "attempt": [1, 1, 2, 2, 1, 1],
        "worker": ["w1", "w1", "w2", "w2", "w1", "w1"],
    }


def test_what_is_known_is_dropped_by_index(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 10)
    assert run.add(((0, 4),)) == (4, 0, 0)
    assert run.add(((0, 4),)) == (0, 0, 4)
    assert run.add(((2, 6),), values=[-1, -1, 40, 50]) == (2, 0, 2)
    run.flush()
    assert run.add(((5, 8),), values=[-1, 60, 70]) == (2, 0, 1)
    assert run.add((), dead=[7, 8]) == (0, 1, 1)
    run.flush()
    run.collector.finalise()
    assert reading.table(run.folder)["result"].to_pylist() == [0, 10, 20, 30, 40, 50, 60, 70]
    assert [found["index"] for found in reading.dead_letters(run.folder)] == [8]
    run.collector.ledger.check()


def test_the_ledger_follows_the_disk_and_the_figures_the_buffer(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 4)
    run.add(((0, 3),), dead=[3])
    assert run.collector.complete
    assert run.collector.missing() == ()
    assert run.collector.ledger.missing() == ((0, 4),)
    batch = run.collector.take()
    assert batch is not None
    written = run.collector.write(batch)
    assert run.collector.ledger.done_count == 0
    run.collector.commit(written)
    assert written.cursor == "1"
    assert (run.collector.ledger.done_count, run.collector.ledger.dead_count) == (3, 1)
    assert load_ledger(run.folder).complete


def test_a_result_outranks_a_dead_letter_also_after_a_restart(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 2)
    run.add(((0, 1),), dead=[1])
    run.flush()
    run.add(((1, 2),))
    run.flush()
    assert (run.collector.done_count, run.collector.dead_count) == (2, 0)
    again = Run(tmp_path / "r", 2)
    assert (again.collector.done_count, again.collector.dead_count) == (2, 0)
    assert list(reading.dead_letters(again.folder)) == []


def test_a_revived_letter_is_not_believed_twice(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 2)
    old = run.message(((0, 1),), dead=[1])
    run.collector.add(old)
    run.flush()
    again = Run(tmp_path / "r", 2)
    assert again.collector.retry_dead([0, 1]) == 1
    assert again.collector.missing() == ((1, 2),)
    assert again.collector.add(old).duplicates == 2
    fresh = again.message((), letters=[letter(1, at=2.0)])
    assert again.collector.add(fresh).dead == 1
    again.flush()
    assert [found["at"] for found in reading.dead_letters(again.folder)] == [2.0]


def as_fields(header: Any) -> dict[str, Any]:
    return {name: getattr(header, name) for name in header.__struct_fields__}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"identity": "other"}, "run r1"),
        ({"ranges": ((5, 11),)}, "outside the run"),
        ({"ranges": ((3, 2),)}, "ascending"),
        ({"ranges": ((0, 3),)}, "expected 3 rows, got 2"),
        ({"dead": (letter(10),)}, "outside the run"),
        ({"dead": (letter(-1),)}, "outside the run"),
    ],
    ids=str,
)
def test_a_message_that_does_not_fit_changes_nothing(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    run = Run(tmp_path / "r", 10)
    message = run.message(((0, 2),))
    header = type(message.header)(**{**as_fields(message.header), **change})
    with pytest.raises(MessageError, match=words):
        run.collector.add(type(message)("9", header, message.payload))
    assert run.collector._rows == 0
    assert run.collector.missing() == ((0, 10),)


@pytest.mark.parametrize("payload", [b"", b"\x00" * 40, b"ARROW1"])
def test_a_payload_that_is_no_payload_changes_nothing(tmp_path: Path, payload: bytes) -> None:
    run = Run(tmp_path / "r", 10)
    message = run.message(((0, 2),))
    with pytest.raises(MessageError, match="Arrow"):
        run.collector.add(type(message)("9", message.header, payload))
    assert run.collector.missing() == ((0, 10),)


def test_parameters_that_cannot_be_computed_come_with_the_rows(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 4, FileRows())
    run.add(((2, 4),))
    run.add(((0, 3),))
    run.flush()
    assert reading.table(run.folder, ["x", "y", "result"]).to_pydict() == {
        "x": [0, 1, 2, 3],
        "y": [0.0, 0.5, 1.0, 1.5],
        "result": [0.0, 10.0, 20.0, 30.0],
    }
    message = run.message(((0, 1),))
    computed = Run(tmp_path / "other", 4).message(((0, 1),))
    with pytest.raises(MessageError, match="parameters"):
        run.collector.add(type(message)("9", message.header, computed.payload))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5, None, 3], [1.0, 2.5, None, 3.0]),
        ([1, "a", None, True], ["1", "a", None, "true"]),
        ([[1], [0.5], [], None], [[1.0], [0.5], [], None]),
        ([None, None, None, None], [None] * 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2, 3]], ids=str)
@pytest.mark.parametrize("parts", [False, True], ids=["one part", "many parts"])
def test_the_table_does_not_depend_on_chunks(
    tmp_path: Path, values: list[Any], expected: list[Any], cuts: list[int], parts: bool
) -> None:
    run = Run(tmp_path / "r", len(values))
    for start, stop in itertools.pairwise([0, *cuts, len(values)]):
        run.add(((start, stop),), values=values[start:stop])
        if parts:
            run.flush()
    if not parts:
        run.flush()
    run.collector.finalise()
    assert reading.table(run.folder)["result"].to_pylist() == expected
    schemas = {str(pq.read_schema(path)) for path in part_paths(run.folder.results)}
    assert len(schemas) == 1


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2, 3]], ids=str)
def test_integers_that_no_float_can_hold_are_kept(tmp_path: Path, cuts: list[int]) -> None:
    values = [1, 2**60 + 1, 0.5, 2]
    run = Run(tmp_path / "r", 4)
    for start, stop in itertools.pairwise([0, *cuts, 4]):
        run.add(((start, stop),), values=values[start:stop])
        run.flush()
    run.collector.finalise()
    assert [json.loads(text) for text in reading.table(run.folder)["result"].to_pylist()] == values


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2]], ids=str)
def test_columns_do_not_depend_on_chunks(tmp_path: Path, cuts: list[int]) -> None:
    values = [{"b": 1, "s": {"p": 1}}, {"a": "x", "s": {"q": 0.5}}, None]
    run = Run(tmp_path / "r", 3)
    for start, stop in itertools.pairwise([0, *cuts, 3]):
        run.add(((start, stop),), values=values[start:stop])
        run.flush()
    run.collector.finalise()
    table = reading.table(run.folder, ["a", "b", "s"])
    assert table.to_pylist() == [
        {"a": None, "b": 1, "s": {"p": 1, "q": None}},
        {"a": "x", "b": None, "s": {"p": None, "q": 0.5}},
        {"a": None, "b": None, "s": None},
    ]
    assert reading.columns_of(run.folder) == ["index", "x", "y", "a", "b", "s", "seconds", "attempt", "worker"]


def test_names_that_collide_are_prefixed(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 1)
    run.add(((0, 1),), values=[{"index": 1, "x": 2, "result_x": 3, "worker": "me"}])
    run.flush()
    row = reading.table(run.folder).to_pylist()[0]
    assert (row["result_index"], row["result_x"], row["result_result_x"], row["result_worker"]) == (1, 2, 3, "me")
    assert (row["index"], row["x"], row["worker"]) == (0, 0, "w1")


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "r", 4)
    run.add(((0, 3),), dead=[3])
    batch = run.collector.take()
    assert batch is not None
    publish = publish_file

    def full(temporary: Path, path: Path) -> None:
        if path.parent.name == "dead":
            raise OSError(errno.ENOSPC, "No space left on device")
        publish(temporary, path)

    monkeypatch.setattr(dataset, "publish_file", full)
    with pytest.raises(StorageError, match="no space left"):
        run.collector.write(batch)
    assert not list(tmp_path.rglob("*.tmp"))
    monkeypatch.undo()
    run.collector.commit(run.collector.write(batch))
    run.collector.finalise()
    assert reading.table(run.folder)["index"].to_pylist() == [0, 1, 2]
    assert run.collector.ledger.complete


class Crash(BaseException):
    """As if the process had ended here."""


@pytest.mark.parametrize("step", range(8))
def test_a_crash_at_any_step_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    run = Run(tmp_path / "r", 4)
    messages = [run.message(((0, 2),), values=[1, 2]), run.message(((2, 3),), values=[0.5], dead=[3])]
    calls = iter(range(100))

    def stumble(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == step:
                raise Crash
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(dataset, "publish_file", stumble(publish_file))
        patched.setattr(dataset, "_write_file", stumble(dataset._write_file))
        patched.setattr(collector_module, "write_part", stumble(dataset.write_part))
        try:
            for message in messages:
                run.collector.add(message)
                run.flush()
            run.collector.finalise()
        except Crash:
            pass
    (tmp_path / "r" / "results" / "part-000077.parquet.tmp").write_bytes(b"half")
    again = Run(tmp_path / "r", 4)
    for message in messages:
        again.collector.add(message)
    if again.collector._rows:
        again.flush()
    again.collector.finalise()
    assert again.collector.ledger.complete
    assert reading.table(again.folder)["result"].to_pylist() == [1.0, 2.0, 0.5]
    assert [found["index"] for found in reading.dead_letters(again.folder)] == [3]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 4)
    run.add(((0, 4),))
    run.flush()
    part = part_paths(run.folder.results)[0]
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StorageError, match=r"part-000001.parquet.*ttg resume"):
        open_ledger(run.folder)


def test_due_when_big_or_old_enough(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 10**6)
    assert not run.collector.due(0.0)
    run.add(((0, 1),))
    assert not run.collector.due(1.0)
    assert not run.collector.due(5.9)
    assert run.collector.due(6.0)
    run.flush()
    run.add(((1, 2),))
    assert not run.collector.due(1000.0)
    assert not run.collector.due(1049.0)
    assert run.collector.due(1060.0)


def test_due_when_the_buffer_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "PART_BYTES", 10_000)
    run = Run(tmp_path / "r", 10**6)
    run.add(((0, 100),))
    assert not run.collector.due(0.0)
    run.add(((100, 1000),))
    assert run.collector.due(0.0)
    assert run.collector._rows == 1000


def test_row_groups_cut_across_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttg.results.pieces.ROW_GROUP_ROWS", 7)
    run = Run(tmp_path / "r", 100)
    shuffled = list(range(100))
    random.Random(3).shuffle(shuffled)
    for start in range(0, 100, 20):
        some = sorted(shuffled[start : start + 20])
        run.add(ranges_of(some), seconds=[0.5] * 20 if start else None)
    run.flush()
    table = reading.table(run.folder)
    assert table["index"].to_pylist() == list(range(100))
    assert table["result"].to_pylist() == [10.0 * index for index in range(100)]
    assert table["y"].to_pylist() == [index / 2 for index in range(100)]


def test_parameters_of_a_real_space(tmp_path: Path) -> None:
    space = grid(x=[1, 2.5, "a"], y=[None, True])
    run = Run(tmp_path / "r", len(space), space)
    for start in range(0, 6, 2):
        run.add(((start, start + 2),))
        run.flush()
    run.collector.finalise()
    table = reading.table(run.folder, ["x", "y"])
    assert table["y"].to_pylist() == [None, True] * 3
    assert table["x"].to_pylist() == ["1.0", "1.0", "2.5", "2.5", "a", "a"]


def test_statistics_are_those_of_all_parts(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 4)
    run.add(((0, 2),), values=[1, None])
    run.flush()
    run.add(((2, 4),), values=[2.5, -1])
    run.flush()
    figures = run.collector.finalise()
    assert figures["result"] == {"count": 3, "nulls": 1, "sum": 2.5, "min": -1.0, "max": 2.5, "mean": 2.5 / 3}
    assert figures["x"] == {"count": 4, "nulls": 0, "sum": 6, "min": 0, "max": 3, "mean": 1.5}
    assert type(run.folder).open(run.folder.path).info.statistics == figures


class Touchy:
    """Parquet that takes none of these values, or not all ``together``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *values: int, together: bool = False) -> None:
        self._write = dataset.write_table
        self._refuses = (lambda found: found >= set(values)) if together else set(values).intersection
        for module in (dataset, refusals):
            monkeypatch.setattr(module, "write_table", self)

    def __call__(self, file: Any, schema: Any, tables: Any, indices: Any) -> None:
        tables = list(tables)
        results = [table["result"].to_pylist() for table in tables if "result" in schema.names]
        values = set(itertools.chain.from_iterable(results))
        if self._refuses(values):
            raise dataset.Unwritable("ArrowInvalid: no such value")
        self._write(file, schema, tables, indices)


@pytest.mark.parametrize("cuts", [[], [3], [2, 4, 6]], ids=str)
@pytest.mark.parametrize("space", [Grid(), FileRows()], ids=["computed", "carried"])
def test_rows_that_cannot_be_written_become_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: list[int], space: Any
) -> None:
    Touchy(monkeypatch, 3, 6)
    run = Run(tmp_path / "r", 8, space)
    messages = [run.message(piece, values=list(range(*piece[0]))) for piece in pieces_of([0, *cuts, 8])]
    for again in range(2):  # the results log is read again after a restart
        run = Run(tmp_path / "r", 8, space) if again else run
        for message in messages:
            run.collector.add(message)
        if run.collector._pieces:
            run.flush()
        ledgers = run.collector.ledger, run.collector._admitted
        assert [(ledger.done_count, ledger.dead_count, ledger.complete) for ledger in ledgers] == [(6, 2, True)] * 2
        run.collector.ledger.check()
    assert reading.table(run.folder)["result"].to_pylist() == [0, 1, 2, 4, 5, 7]
    letters = {found["index"]: found for found in reading.dead_letters(run.folder)}
    assert sorted(letters) == [3, 6]
    assert letters[3]["parameters"] == {"x": 3, "y": 1.5}
    assert (letters[3]["kind"], letters[3]["error"]) == ("encoding", "UnencodableResult")
    assert "no such value" in letters[3]["message"]
    assert not list(tmp_path.rglob("*.tmp"))


def test_of_rows_that_do_not_fit_together_the_later_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Touchy(monkeypatch, 5, 6, together=True)
    run = Run(tmp_path / "r", 8)
    run.add(((0, 8),), values=list(range(8)))
    run.flush()
    assert [found["index"] for found in reading.dead_letters(run.folder)] == [6]


def pieces_of(cuts: list[int]) -> list[Any]:
    return [((start, stop),) for start, stop in itertools.pairwise(cuts)]


def test_what_arrow_calls_an_oserror_is_no_trouble_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table = pq.ParquetWriter.write_table

    def refuse(writer: Any, table: Any, *rest: Any, **options: Any) -> None:
        if "result" in table.column_names:
            raise OSError("encoder only supports INT32 and INT64")
        write_table(writer, table, *rest, **options)

    run = Run(tmp_path / "r", 2)
    run.add(((0, 2),))
    monkeypatch.setattr(pq.ParquetWriter, "write_table", refuse)
    batch = run.collector.take()
    assert batch is not None
    assert run.collector.write(batch).refused == (0, 1)


def test_a_field_named_as_a_path_into_another(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 2)
    run.add(((0, 2),), values=[{"a.b": 1, "a": {"b": 0.5}}, {"a.b": 2, "a": {"b": None}}])
    run.flush()
    assert reading.table(run.folder, ["a.b"])["a.b"].to_pylist() == [1, 2]
    assert reading.table(run.folder, ["a"])["a"].to_pylist() == [{"b": 0.5}, {"b": None}]


def test_mixed_columns_are_named(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", 2)
    run.add(((0, 2),), values=[{"m": "sqrt", "n": 1, "s": {"t": 1}}, {"m": 0.5, "n": 2.5, "s": {"t": "a"}}])
    run.flush()
    figures = run.collector.finalise()
    told = {name: found["mixed"] for name, found in figures.items() if "mixed" in found}
    assert told == {"m": "numbers and text", "s": "numbers and text"}
    assert "m      mixed: numbers and text" in Finished.of(run.folder).as_text()


def test_the_summary_says_that_a_column_has_no_number(tmp_path: Path) -> None:
    nan = {"result": {"count": 2, "missing": 0, "min": None, "mean": None, "max": None}}
    ended = Finished("r", RunStatus.FINISHED, 2, 2, 0, 1.0, tmp_path, ("x",), nan)
    assert "  result  only missing values and NaN" in ended.as_text()
