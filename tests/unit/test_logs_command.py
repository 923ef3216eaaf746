"""``ttg logs``: all of a run's logs, or what was printed for one parameter, and what is to be found elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.results_fakes import Run

from ttg.cli import main

WORKER_1 = """\
06:00:01 INFO    slot 0 r1: importing
06:00:01 INFO    slot 0 r1[3]: three
06:00:02 INFO    slot 1 r1[2-5]: from C
06:00:02 INFO    slot 0 r1[30]: thirty
06:00:02 INFO    slot 0 r11[3]: another run's
"""
WORKER_10 = '{"text": "slot 0 r1[3]: three again", "run": "r1", "index": 3}\n{no json\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = Run(tmp_path / "r1", 40)
    run.add(((0, 4),), worker="w1-2f3a")
    run.add(((4, 6),), worker="pod-7")
    run.add((), dead=[6])
    run.flush()
    (run.folder.logs / "worker-10.log").write_text(WORKER_10)
    (run.folder.logs / "worker-1.log").write_text(WORKER_1)
    return run.folder.path


def test_all_of_it_is_printed_in_the_order_of_the_workers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", str(folder)]) == 0
    said = capsys.readouterr()
    expected = [f"worker-1 | {line}" for line in WORKER_1.splitlines()]
    expected += [f"worker-10 | {line}" for line in WORKER_10.splitlines()]
    assert said.out.splitlines() == expected
    assert "pod-7" in said.err
    assert "keep their logs where they run" in said.err
    assert "w1-2f3a" not in said.err


@pytest.mark.parametrize(
    ("index", "printed", "remark"),
    [
        (3, ["three", "from C", "three again"], ""),
        (30, ["thirty"], ""),
        (0, [], "parameter 0 printed nothing here"),
        (5, ["from C"], "parameter 5 was settled by worker pod-7, which keeps its log where it runs"),
        (39, [], "is not settled yet"),
    ],
)
def test_one_parameter(
    folder: Path, index: int, printed: list[str], remark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", str(folder), str(index)]) == 0
    said = capsys.readouterr()
    assert [line.partition("]: ")[2].partition('"')[0] for line in said.out.splitlines()] == printed
    assert remark in said.err
    assert bool(remark) == bool(said.err)


def test_an_index_that_the_run_has_not_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", str(folder), "40"]) == 2
    assert ", 0 to 39, got '40'" in capsys.readouterr().err


def test_index_and_run_in_either_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for words in (["logs", str(folder), "30"], ["logs", "30", str(folder)]):
        assert main(words) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != ""
    for words in (["failed", "show", "6", str(folder)], ["failed", "show", str(folder), "6"]):
        assert main(words) == 0
        assert capsys.readouterr().out.startswith("parameter 6")
    assert main(["logs", str(folder), "x"]) == 2
