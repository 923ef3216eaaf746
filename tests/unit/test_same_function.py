"""The same function or not at all: what a function imports is part of it, on resume and on every worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pickles import travelling
from tools import need_program
from ttg.errors import FunctionError, RunConflictError
from ttg.function import allowed, function_from_callable, function_from_text, load, refreshed
from ttg.options import DEFAULTS
from ttg.results.folder import RunFolder
from ttg.run.provenance import commit_of, save_sources
from ttg.run.request import new_request, resume_request
from ttg.run.secret import with_secret
from ttg.settings import read_settings
from ttg.space import grid

SIM = """
import json, msgspec
from importlib import import_module
from ttg_t_one import scale
try:
    import ttg_t_absent
except ImportError:
    pass
def f(x):
    from ttg_t_package import inner
    return scale() * inner.k * import_module("ttg_t_named").k * x
"""
FILES = {
    "sim.py": SIM,
    "ttg_t_one.py": "import ttg_t_two\ndef scale(): return ttg_t_two.k\n",
    "ttg_t_two.py": "import ttg_t_one\nk = 2\n",
    "ttg_t_named.py": "k = 1\n",
    "ttg_t_unused.py": "k = 1\n",
    "ttg_t_package/__init__.py": "",
    "ttg_t_package/inner.py": "from . import below\nfrom .. import nothing_above\nk = below.k\n",
    "ttg_t_package/below.py": "k = 1\n",
}
HELPERS = [
    "ttg_t_named",
    "ttg_t_one",
    "ttg_t_package",
    "ttg_t_package.below",
    "ttg_t_package.inner",
    "ttg_t_two",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("from .. import nothing_above\n", ""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in {name for name in set(sys.modules) - before if name.startswith(("ttg_t_", "sim"))}:
        del sys.modules[name]


def test_what_a_function_imports_of_the_user_s_own_is_found_without_executing_it(folder: Path) -> None:
    assert list(function_from_text("sim.py:f").helpers) == HELPERS
    assert list(function_from_text("ttg_t_package.inner:k").helpers) == ["ttg_t_package", "ttg_t_package.below"]
    assert not function_from_text("json:dumps").helpers
    assert not sys.modules.keys() & {"sim", *HELPERS}


@pytest.mark.parametrize(
    ("name", "text", "changed"),
    [
        ("ttg_t_two.py", "import ttg_t_one\nk = 3\n", "ttg_t_two"),
        ("ttg_t_package/below.py", "k = 1.0\n", "ttg_t_package.below"),
        ("ttg_t_absent.py", "", "ttg_t_absent"),
        ("ttg_t_two.py", None, "ttg_t_two"),
        ("ttg_t_two.py", "# a comment\nimport ttg_t_one\n\nk = 2\n", None),
        ("ttg_t_unused.py", "k = 5\n", None),
    ],
)
def test_a_run_is_resumed_with_the_same_code_or_refused_with_what_changed(
    folder: Path, name: str, text: str | None, changed: str | None
) -> None:
    settings = read_settings({"TTG_HOME": str(folder / "home")})
    request = new_request(function_from_text("sim.py:f", ["x"]), grid(x=[1]), settings, DEFAULTS)
    run = RunFolder.create(request.out, request.spec)
    save_sources(run, request.sources)
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    forced = resume_request(str(run.path), settings, DEFAULTS.but(force=True))
    if changed is None:
        resumed = resume_request(str(run.path), settings)
        assert resumed.spec.function == request.spec.function
        assert load(resumed.spec.function)(3) == 6
        return
    with pytest.raises(RunConflictError, match=rf"has changed \({changed}, which.*--force") as refusal:
        resume_request(str(run.path), settings)
    if name == "ttg_t_two.py":
        assert "\n  -k = 2" in str(refusal.value)
    assert forced.spec.function == refreshed(request.spec.function) != request.spec.function
    assert "has changed (" in forced.change
    assert "sim" in forced.sources


def test_a_worker_with_another_helper_refuses(folder: Path) -> None:
    target = function_from_text("sim.py:f")
    (folder / "ttg_t_package" / "below.py").write_text("k = 10\n")
    with pytest.raises(FunctionError, match=r"below.py, which it imports, here differs .* up to date"):
        load(target)
    (folder / "ttg_t_package" / "below.py").write_text(FILES["ttg_t_package/below.py"])
    assert load(target)(3) == 6
    (folder / "ttg_t_two.py").unlink()
    sys.modules.pop("ttg_t_two")
    with pytest.raises(FunctionError, match=r"ttg_t_two, which it imports, is missing here"):
        load(target)


@pytest.mark.parametrize("text", ["sim.py:f", "ttg_t_one:scale"])
def test_a_process_that_loaded_an_earlier_version_loads_the_present_one(folder: Path, text: str) -> None:
    """A worker outlives many runs: without this it computes a new run with the modules of an old one."""
    arguments = (1,) if text == "sim.py:f" else ()
    old = load(function_from_text(text))
    (folder / "ttg_t_two.py").write_text("import ttg_t_one\nk = 7\n")
    new = load(function_from_text(text))
    assert (old(*arguments), new(*arguments)) == (2, 7)


def test_a_pickled_function_s_modules_count_as_well(folder: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(folder))
    import ttg_t_one  # type: ignore[import-not-found]

    by_global = travelling(lambda x: ttg_t_one.scale() * x, tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec("def g(x):\n    from ttg_t_package.inner import k\n    return k * x", namespace)  # noqa: S102
    by_import = travelling(namespace["g"], tmp_path)  # type: ignore[arg-type]
    assert list(by_global.helpers) == ["ttg_t_one", "ttg_t_two"]
    assert list(by_import.helpers) == ["ttg_t_package", "ttg_t_package.below", "ttg_t_package.inner"]
    assert load(by_global, secret="s")(5) == 10
    (folder / "ttg_t_two.py").write_text("k = 3\n")
    with pytest.raises(FunctionError, match=r"ttg_t_two.py, which it imports, here differs"):
        load(by_global, secret="s")


def test_the_byte_code_of_another_python_is_refused_before_it_can_crash() -> None:
    target = function_from_callable(lambda x: x, secret="s")
    assert target.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(FunctionError, match="signature"):
        load(msgspec.structs.replace(target, python="3.99"), secret="s")


def test_a_mounted_configmap_does_not_change_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a tree of links, and the folder that they lead to has another name after every update."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    update = tmp_path / "..2026_11"
    update.mkdir()
    (tmp_path / "..data").symlink_to(update.name)
    (update / "ttg_t_mounted.py").write_text("def f(x): return __name__\n")
    (tmp_path / "ttg_t_mounted.py").symlink_to("..data/ttg_t_mounted.py")
    target = function_from_text("ttg_t_mounted.py:f", cwd=tmp_path)
    assert target.location == "ttg_t_mounted.py"
    assert [allowed(target, patterns, tmp_path) for patterns in ((), ("ttg_t_mounted.py:f",), ("*.py:*",))] == [
        True
    ] * 3
    assert load(target, cwd=tmp_path)(1) == "ttg_t_mounted"
    assert str(tmp_path) in sys.path
    del sys.modules["ttg_t_mounted"]


def test_this_user_s_secret_stays_and_is_nobody_else_s(tmp_path: Path) -> None:
    settings = read_settings({"TTG_HOME": str(tmp_path / "home")})
    secret = with_secret(settings).secret
    assert secret
    assert with_secret(settings).secret == secret
    assert (tmp_path / "home" / "secret").stat().st_mode & 0o777 == 0o600
    told = read_settings({"TTG_SECRET": "told", "TTG_HOME": str(tmp_path)})
    assert with_secret(told) == told
    (tmp_path / "home" / "secret").chmod(0o644)
    with pytest.raises(Exception, match=re.escape("only you can read")):
        with_secret(settings)
    (tmp_path / "file").touch()
    unwritable = read_settings({"TTG_HOME": str(tmp_path / "file")})
    assert with_secret(unwritable).secret == with_secret(unwritable).secret != secret


def test_the_commit_and_whether_it_is_dirty(tmp_path: Path) -> None:
    git = need_program("git", install="git")
    assert commit_of(tmp_path / "absent") == {}

    def do(*words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e"]
        return subprocess.run([git, *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert commit_of(tmp_path) == {} or os.environ.get("GIT_DIR")
    do("init")
    (tmp_path / "sim.py").write_text("a")
    do("add", ".")
    do("commit", "-m", "m")
    assert commit_of(tmp_path) == {"commit": do("rev-parse", "HEAD").strip(), "dirty": False}
    (tmp_path / "sim.py").write_text("b")
    assert commit_of(tmp_path)["dirty"] is True
