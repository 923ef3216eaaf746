"""The run folder: who may make, open, find and lock one."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace
from results_fakes import spec_of

import ttg
from disks import full_disk
from pickles import travelling
from ttg.errors import FunctionError, InputError, RunConflictError, StorageError
from ttg.function import function_from_text, with_pickles
from ttg.messages import StoreRef
from ttg.options import EntryPoint, choose
from ttg.results.folder import RunFolder, RunLock, find_run, forget_run, list_runs, list_runs_of
from ttg.run.cleanup import carry_out, run_removal
from ttg.run.launch import _folder
from ttg.run.report import counts
from ttg.run.request import new_request
from ttg.settings import read_settings
from ttg.space import rows


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "deep" / "r", spec_of(5))
    folder.update(state="finished", done=5, statistics={"result": {"count": 5}})
    again = RunFolder.open(tmp_path / "deep" / "r")
    assert again.info == folder.info
    assert again.spec == spec_of(5)
    assert again.info.versions["python"]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunConflictError, match="not empty"):
        RunFolder.create(tmp_path, spec_of(5))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "r", spec_of(5))
    with pytest.raises(RunConflictError, match="ttg resume"):
        RunFolder.create(tmp_path / "r", spec_of(6))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--out"):
        RunFolder.create(tmp_path / "file" / "r", spec_of(5))


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run folder"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        RunFolder.open(tmp_path)


def test_a_second_coordinator_is_refused_by_name(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "r", spec_of(5))
    program = (
        "import sys, pathlib; from ttg.results.folder import RunLock; "
        "lock = RunLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunConflictError, match=f"pid {holder.pid} on"):
            folder.lock()
        holder.kill()
    with folder.lock():
        pass
    folder.lock().close()


def test_runs_are_found_by_id_prefix_path_and_last(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = RunFolder.create(tmp_path / "a", spec_of(5, "alpha-1"), home)
    second = RunFolder.create(tmp_path / "b", spec_of(5, "alpha-2"), home)
    assert [folder.spec.run for folder in list_runs(home)] == ["alpha-1", "alpha-2"]
    assert find_run("last", home).path == second.path
    assert find_run("alpha-1", home).path == first.path
    assert find_run(str(tmp_path / "a"), home).path == first.path
    assert find_run(str(tmp_path / "a" / "results"), home).path == first.path
    with pytest.raises(InputError, match="alpha-1, alpha-2"):
        find_run("alp", home)
    with pytest.raises(InputError, match="did you mean alpha-1"):
        find_run("alhpa-1", home)
    with pytest.raises(InputError, match="no run 'xx"):
        find_run("x" * 5000, home)
    with pytest.raises(InputError, match="ttg runs"):
        find_run("beta", home)
    forget_run(second, home, delete=True)
    assert find_run("alp", home).path == first.path
    assert not second.path.exists()
    with pytest.raises(InputError, match="no runs are known"):
        find_run("last", tmp_path / "nowhere")


def test_last_is_the_last_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here, elsewhere = tmp_path / "home", tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        folder.mkdir()
    monkeypatch.chdir(here)
    started_here = RunFolder.create(elsewhere / "out", spec_of(5, "a"), home)
    monkeypatch.chdir(elsewhere)
    lies_here = RunFolder.create(here / "out", spec_of(5, "b"), home)
    other = RunFolder.create(tmp_path / "c", spec_of(5, "c"), home)
    assert find_run("last", home).path == other.path
    monkeypatch.chdir(here)
    assert [run.path for run in list_runs_of(here, home)] == [started_here.path, lies_here.path]
    assert find_run("last", home).path == lies_here.path
    assert [run.spec.run for run in list_runs_of(tmp_path, home)] == ["a", "b", "c"], "those below, too"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(InputError, match=r"in this folder or below: `ttg runs --all` .* last c"):
        find_run("last", home)


def test_the_version_is_said_in_one_place() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/ttg/__init__.py"
    assert f"ARG VERSION={ttg.__version__}\n" in (root / "docker" / "Dockerfile").read_text(), "a label cannot ask"


def test_a_link_to_a_folder_that_another_run_has_by_now_is_no_run(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = RunFolder.create(tmp_path / "o", spec_of(4, run="first"), home)
    shutil.rmtree(first.path)
    RunFolder.create(tmp_path / "o", spec_of(4, run="second"), home)
    assert [folder.spec.run for folder in list_runs(home)] == ["second"]
    assert find_run("second", home).spec.run == "second"


def test_clean_up_leaves_nothing_of_what_a_run_writes(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "r", spec_of(5))
    places = {name for name, value in vars(RunFolder).items() if isinstance(value, property)}
    paths = [path for name in places if isinstance(path := getattr(folder, name), Path)]
    assert folder.code in paths
    for path in paths:
        path.mkdir(exist_ok=True)
        (path / "file").write_text("ours")
    asyncio.run(run_removal(folder, tmp_path / "home").remove())
    assert not folder.path.exists()


def test_clean_up_of_a_run_whose_store_is_away_leaves_it_unless_forced(tmp_path: Path) -> None:
    away = StoreRef(str(tmp_path / "file" / "store"), "proof", named=True)
    (tmp_path / "file").touch()
    folder = RunFolder.create(tmp_path / "r", replace(spec_of(5), store=away))
    said: list[str] = []
    assert asyncio.run(carry_out([run_removal(folder, tmp_path / "home")], said.append)) == 1
    assert "--force removes the folder all the same" in said[0]
    assert folder.path.exists()
    assert asyncio.run(carry_out([run_removal(folder, tmp_path / "home", force=True)], said.append)) == 0
    assert f"stays there, remove it yourself: cannot use the store {away.place}" in said[1]
    assert not folder.path.exists()


def test_clean_up_says_that_a_folder_stays_for_what_is_not_of_the_run(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "r", spec_of(5))
    (folder.path / "notes.txt").write_text("mine")
    removal = run_removal(folder, tmp_path / "home")
    assert removal.details[1] == "the folder stays, for it holds notes.txt"
    asyncio.run(removal.remove())
    assert [path.name for path in folder.path.iterdir()] == ["notes.txt"]


def test_who_only_counts_leaves_what_is_being_written(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "r", spec_of(5))
    half_written = [folder.path / "run.json.tmp", folder.results / "part-000001.parquet.tmp"]
    for path in half_written:
        path.write_text("half")
    assert counts(folder) == (0, 0)
    assert all(path.exists() for path in half_written)


def test_a_run_is_held_on_a_full_disk_as_well(tmp_path: Path) -> None:
    with full_disk(), RunLock(tmp_path):
        assert RunLock.is_held(tmp_path)
    assert not RunLock.is_held(tmp_path)


def test_a_run_that_is_interrupted_while_its_rows_are_kept_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ttg.results.rows.save_rows", interrupted)
    chosen = choose(EntryPoint.API_RUN, {"out": tmp_path / "r"})
    request = new_request(function_from_text("math:sqrt"), rows([{"x": 4}]), read_settings({}), chosen)
    with pytest.raises(KeyboardInterrupt):
        _folder(request)
    assert not (tmp_path / "r").exists()


def test_a_function_whose_pickle_is_gone_is_named(tmp_path: Path) -> None:
    spec = replace(spec_of(5), function=travelling(lambda x: x, tmp_path))
    (tmp_path / spec.function.packed).unlink()
    with pytest.raises(FunctionError, match=r"<lambda>: its pickle cannot be read: .* No such file"):
        with_pickles(spec, tmp_path.joinpath)


def test_a_folder_that_somebody_has_removed_is_empty_and_can_be_forgotten(tmp_path: Path) -> None:
    """Why its run has ended is told, not that there is nothing to remove."""
    folder = RunFolder.create(tmp_path / "r", spec_of(5), tmp_path / "home")
    assert folder.is_empty
    shutil.rmtree(folder.path)
    assert folder.is_empty
    forget_run(folder, tmp_path / "home", delete=True)
    assert not list_runs(tmp_path / "home")
