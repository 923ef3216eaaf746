"""The Python API, as a notebook uses it: in this process, with functions that exist only here."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import ttg
from ttg.errors import SettingsError

FAST: dict[str, Any] = {"workers": 1, "progress": False}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs are made and registered in the test's own folder."""
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_run_is_a_function_before_and_after_its_package_was_imported() -> None:
    code = "import ttg; ttg.run; import ttg.run.saved; assert ttg.run.saved.Run is ttg.Run; assert callable(ttg.run)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lambdas_closures_and_several_runs_in_one_process() -> None:
    factor = 3
    first = ttg.run(lambda x: x + 1, {"x": [1, 2, 3]}, **FAST)
    second = ttg.run(lambda x: x * factor, [{"x": 5}, {"x": 7}], **FAST)
    assert [row["result"] for row in first] == [2, 3, 4]
    assert second.table(["result"]).to_pydict() == {"result": [15, 21]}
    assert (first.status, len(first), first.failures()) == ("finished", 3, [])
    assert ttg.open_run().id == second.id
    assert ttg.open_run(first.id).path == first.path


def test_in_a_running_event_loop_as_notebooks_have_one() -> None:
    async def cell() -> ttg.Run:
        return ttg.run(lambda x: x, {"x": [1]}, **FAST)

    assert len(asyncio.run(cell())) == 1


def test_a_notebook_shows_the_report_and_the_first_rows() -> None:
    run = ttg.run(lambda x: f"<{x}>", {"x": range(7)}, **FAST)
    shown = run._repr_html_()
    assert "7 of 7 results" in shown
    assert "<td>&lt;4&gt;</td>" in shown
    assert "&lt;5&gt;" not in shown
    assert repr(run) == f"<ttg run {run.id}: finished, 7 results, 0 dead letters of 7>"


def test_progress_may_be_a_function_and_one_that_fails_is_not_the_runs_matter() -> None:
    seen: list[Any] = []
    assert len(ttg.run(lambda x: x, {"x": [1, 2]}, workers=1, progress=seen.append)) == 2
    assert (seen[-1].total, seen[-1].done, seen[-1].state) == (2, 2, "finished")

    def fails(progress: Any) -> None:
        seen.clear()
        raise OSError("nobody reads this")

    assert len(ttg.run(lambda x: x, {"x": [1, 2]}, workers=1, progress=fails)) == 2
    assert not seen
    with pytest.raises(SettingsError, match="expected True, False, 'tqdm', or a function of a Progress; got 'tdqm'"):
        ttg.run(lambda x: x, {"x": [1]}, progress="tdqm")


def test_a_notebook_shows_the_callers_line_of_an_error() -> None:
    with pytest.raises(ttg.TTGError) as raised:
        ttg.run(lambda x: x, {"y": [1]}, **FAST)
    shown = raised.value._render_traceback_()
    assert [line for line in shown if "File " in line] == [line for line in shown if "test_api.py" in line]
    assert "does not take 'y'" in shown[-1]


def test_failures_are_data_and_not_exceptions() -> None:
    run = ttg.run(lambda x: 1 / x, {"x": [0, 1]}, retries=0, **FAST)
    assert (run.status, [letter["error"] for letter in run.failures()]) == (
        "finished_with_dead_letters",
        ["ZeroDivisionError"],
    )
    assert "ttg failed" in run.report.as_warning()


def test_a_misspelt_option_is_named_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"ttg.run\(\) has no option retrys: did you mean retries\?"):
        ttg.run(abs, {"x": [1]}, retrys=1)
    with pytest.raises(TypeError, match=r"ttg.resume\(\) has no option forces: did you mean force\?"):
        ttg.resume(forces=True)
    with pytest.raises(TypeError, match=r"timeout does not go with ttg.resume\(\): it is for ttg run, "):
        ttg.resume(timeout=3)


@pytest.mark.parametrize(
    ("option", "limits"),
    [
        ({"timeout": "30s"}, (30.0, None)),
        ({"timeout": 30}, (30.0, None)),
        ({"timeout": timedelta(minutes=1)}, (60.0, None)),
        ({"timeout_seconds": 0.5, "memory_bytes": 1 << 30}, (0.5, 1 << 30)),
        ({"memory": "1G"}, (None, 1 << 30)),
    ],
)
def test_options_are_read_as_on_the_command_line(option: dict[str, Any], limits: tuple[Any, Any]) -> None:
    run = ttg.run(lambda x: x, {"x": [1]}, **option, **FAST)
    found = run.folder.spec.limits
    assert (found.timeout_seconds, found.memory_bytes) == limits


@pytest.mark.parametrize("option", [{"timeout": -1}, {"workers": -1}, {"max_failures": "200%"}, {"memory": "1k"}])
def test_what_cannot_work_is_refused_in_the_caller_s_words(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(ttg.TTGError, match=f"^{name}: expected "):
        ttg.run(abs, {"x": [1]}, progress=False, **option)


def test_help_shows_the_options() -> None:
    code = "import ttg, ttg.run.api; help(ttg.run)"
    for function in (code, "import ttg; help(ttg.run)", "import ttg; help(ttg.resume)"):
        shown = subprocess.run([sys.executable, "-c", function], check=True, capture_output=True, text=True).stdout
        assert "``chunk_size`` (N): parameters per task (default: automatic)" in shown
    assert {"chunk_size", "timeout", "progress"} < set(inspect.signature(ttg.run).parameters)


def test_an_error_on_purpose_comes_without_the_way_it_took() -> None:
    with pytest.raises(ttg.TTGError, match="cannot be reached") as caught:
        ttg.run(abs, {"x": [1]}, broker="unix:///nowhere/socket", **FAST)
    assert "coordinator.py" not in "".join(traceback.format_tb(caught.value.__traceback__))


def test_a_setup_that_exists_only_here_has_its_globals_in_common_with_the_function() -> None:
    script = """
import ttg
LOADED = 0
def load():
    global LOADED
    LOADED = 100
    return 7
if __name__ == "__main__":
    run = ttg.run(lambda x, setup: x + LOADED + setup, {"x": [1, 2]}, setup=load, workers=1, progress=False)
    assert [row["result"] for row in run] == [108, 109], run.table()
    assert run.call(1) == 109
    assert (LOADED, ttg.resume(run.id, progress=False).status) == (0, "finished")
"""
    Path("script.py").write_text(script)
    subprocess.run([sys.executable, "script.py"], check=True)
