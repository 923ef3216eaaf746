"""Whole runs from the command line, undisturbed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from workloads import value

from runs import TtgRun, apply_oracle, dead_on_disk, settled_on_disk

WORKLOADS = str(Path(__file__).with_name("workloads.py"))


def test_a_run_leaves_a_complete_table_and_statistics(ttg: TtgRun) -> None:
    ttg.start("run", f"{WORKLOADS}:value", "i=range(0,5000)", "--workers", "2", "--out", str(ttg.folder), "--json")
    assert ttg.wait() == 0, ttg.said()
    apply_oracle(ttg.folder, 5000, value, dead=set())
    info = ttg.info()
    assert (info["state"], info["done"], info.get("dead", 0)) == ("finished", 5000, 0)
    statistics = info["statistics"]["result"]
    assert statistics["count"] == 5000
    assert statistics["mean"] == pytest.approx(sum(map(value, range(5000))) / 5000)
    assert not (ttg.folder / "broker").exists(), "the embedded broker's files are gone after a finished run"


def test_a_space_of_several_axes_keeps_its_order_and_its_parameters(ttg: TtgRun, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def f(a, b, c):\n    return {'sum': a + b, 'text': c * 2}\n")
    target = f"{tmp_path / 'f.py'}:f"
    ttg.start("run", target, "a=1,2,3", "b=linspace(0,1,5)", "c=x,y", "--workers", "1", "--out", str(ttg.folder))
    assert ttg.wait() == 0, ttg.said()
    rows = _results(ttg, "jsonl")
    assert [row["index"] for row in rows] == list(range(30))
    assert rows[0] == {**rows[0], "a": 1, "b": 0.0, "c": "x", "sum": 1.0, "text": "xx"}
    assert all(row["sum"] == row["a"] + row["b"] and row["text"] == row["c"] * 2 for row in rows)


def test_failing_parameters_are_tried_four_times_and_spare_their_neighbours(ttg: TtgRun, tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    ttg.environment = {"ATTEMPTS_FILE": str(attempts)}
    ttg.start(
        "run",
        f"{WORKLOADS}:picky",
        "i=range(0,2000)",
        "--workers",
        "2",
        "--retry-delay",
        "300ms",
        "--out",
        str(ttg.folder),
    )
    assert ttg.wait() == 5, ttg.said()
    apply_oracle(ttg.folder, 2000, value, dead=set(range(7, 2000, 100)))
    tried = [line.split() for line in attempts.read_text().splitlines()]
    assert set(Counter(index for index, _ in tried).values()) == {4}
    times = sorted(float(at) for index, at in tried if index == "107")
    assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(times))
    letter = dead_on_disk(ttg.folder)[0]
    assert (letter["attempts"], letter["error"]) == (4, "ValueError")
    assert "workloads.py" in letter["place"]
    assert "raise ValueError" in letter["traceback"]


def test_no_retries_when_none_are_wanted(ttg: TtgRun, tmp_path: Path) -> None:
    ttg.environment = {"ATTEMPTS_FILE": str(tmp_path / "attempts")}
    arguments = ("i=range(0,200)", "--workers", "1", "--retries", "0", "--out", str(ttg.folder))
    ttg.start("run", f"{WORKLOADS}:picky", *arguments)
    assert ttg.wait() == 5, ttg.said()
    assert len((tmp_path / "attempts").read_text().splitlines()) == 2


def test_rows_of_a_file(ttg: TtgRun, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x,name\n1,a\n2,b\n3,c\n")
    (tmp_path / "f.py").write_text("def f(x, name):\n    return x * name\n")
    arguments = ("--params", str(tmp_path / "p.csv"), "--workers", "1", "--out", str(ttg.folder))
    ttg.start("run", f"{tmp_path / 'f.py'}:f", *arguments)
    assert ttg.wait() == 0, ttg.said()
    assert dict(settled_on_disk(ttg.folder)) == {0: "a", 1: "bb", 2: "ccc"}


def test_the_same_seed_gives_the_same_table_whatever_the_chunks(tmp_path: Path, ttg: TtgRun) -> None:
    (tmp_path / "f.py").write_text("def f(i, rng):\n    return rng.normal()\n")
    tables = []
    for chunk in ("1", "7", "1000"):
        run = TtgRun(tmp_path / f"run{chunk}", ttg.home)
        arguments = ("i=range(0,60)", "--seed", "5", "--workers", "2", "--chunk-size", chunk, "--out", str(run.folder))
        assert run.start("run", f"{tmp_path / 'f.py'}:f", *arguments).wait() == 0, run.said()
        tables.append(dict(settled_on_disk(run.folder)))
    assert tables[0] == tables[1] == tables[2]
    assert len(set(tables[0].values())) == 60


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py:f", "i=1,2"], "nowhere.py"),
        ([f"{WORKLOADS}:valu", "i=1,2"], "value"),
        ([f"{WORKLOADS}:value", "j=1,2"], "j"),
        ([f"{WORKLOADS}:value", "i=range(5,5)"], "range"),
        ([f"{WORKLOADS}:value", "i=1,2", "--chunk-size", "0"], "chunk-size"),
        ([f"{WORKLOADS}:value", "i=1,2", "--workers", "-1"], "workers"),
        ([f"{WORKLOADS}:value"], "no parameters"),
        ([f"{WORKLOADS}:value", "i=1,2", "--broker", "http://x"], "redis://"),
        ([f"{WORKLOADS}:value", "i=1,2", "--timeout", "soon"], "--timeout"),
    ],
)
def test_wrong_input_is_one_clear_line_and_starts_nothing(ttg: TtgRun, arguments: list[str], words: str) -> None:
    ttg.start("run", *arguments, "--out", str(ttg.folder))
    assert ttg.wait() == 2, ttg.said()
    lines = ttg.said().strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ttg: ")
    assert words in lines[0]
    assert not ttg.folder.exists()


def test_a_broker_that_does_not_answer_is_an_infrastructure_error(ttg: TtgRun) -> None:
    ttg.start("run", f"{WORKLOADS}:value", "i=1,2", "--broker", "redis://127.0.0.1:1/0", "--out", str(ttg.folder))
    assert ttg.wait() == 3, ttg.said()
    assert "127.0.0.1:1" in ttg.said()


def test_an_error_while_the_function_is_loaded_ends_the_run_with_its_words(ttg: TtgRun, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("import no_such_library\n\ndef f(i):\n    return i\n")
    ttg.start("run", f"{tmp_path / 'f.py'}:f", "i=1,2,3", "--workers", "2", "--out", str(ttg.folder))
    assert ttg.wait() == 2, ttg.said()
    assert "no_such_library" in ttg.said()


def _results(ttg: TtgRun, form: str) -> list[dict[str, Any]]:
    run = TtgRun(ttg.folder, ttg.home)
    before = len(ttg.said())
    assert run.start("results", str(ttg.folder), "--format", form).wait() == 0, run.said()
    return [json.loads(line) for line in run.said()[before:].splitlines()]


def test_the_help_names_every_exit_code() -> None:
    answer = subprocess.run([sys.executable, "-m", "ttg", "--help"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0
    assert all(f"  {code} " in answer.stdout for code in (0, 2, 3, 4, 5, 75))
