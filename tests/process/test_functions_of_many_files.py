"""Whole runs whose function is more than one file, or none: resumed, refused, and beside files with awkward names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ttg as api
from runs import TtgRun, eventually, settled_on_disk
from servers import RedisServer, valkey_program

REFUSED = """
import os, pathlib, time
if "BROKEN" in os.environ:
    import a_package_that_is_not_there
def f(i):
    while not pathlib.Path(os.environ["GO_FILE"]).exists():
        time.sleep(0.01)
    return i
"""


LIBRARY = """
import time
def check(x, mended):
    if mended.exists():
        return x
    time.sleep(0.02 * x)
    return x / x
"""


def test_a_function_without_a_file_is_resumed_by_this_and_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib").mkdir()
    library = tmp_path / "lib" / "ttg_t_library.py"
    library.write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(library.parent))
    import ttg_t_library  # type: ignore[import-not-found]

    options: dict[str, Any] = {"workers": 1, "retries": 0, "max_failures": 0, "chunk_size": 1, "progress": False}
    for name in ("here", "elsewhere"):
        mended = tmp_path / name
        with pytest.raises(api.TTGError, match="--max-failures"):
            api.run(lambda x, file=mended: ttg_t_library.check(x, file), {"x": range(200)}, run_id=name, **options)
        mended.touch()
    library.write_text(LIBRARY + "more = 1")
    with pytest.raises(api.TTGError, match=r"changed \(ttg_t_library, which it imports\)"):
        api.resume("here", workers=1)
    library.write_text(LIBRARY)
    assert len(api.resume("here", workers=1, progress=False, max_failures=1)) == 199
    command = [sys.executable, "-m", "ttg", "resume", "elsewhere", "--workers", "1", "--max-failures", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert "199 of 200 results" in done.stderr
    assert len(dict(settled_on_disk(api.open_run("elsewhere").path))) == 199


def test_files_named_like_standard_modules_are_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("random", "types", "token", "socket", "queue", "inspect"):
        (tmp_path / f"{name}.py").write_text("this = 'a user’s own'\n")
    (tmp_path / "beside.py").write_text("import random\ndef f(i): return [random.random() < 2, i]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TTG_HOME", str(tmp_path / "home"))
    # Not `python -m ttg`: with a types.py here that fails before anything of ours runs.
    command = [Path(sys.executable).with_name("ttg"), "run", "beside.py:f", "i=range(0,10)", "--workers", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, json.loads(done.stdout)["done"]) == (0, 10), done.stderr
    (tmp_path / "beside.py").write_text("from random import this_one\ndef f(i): return i\n")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "random.py has the name of a standard module: rename it" in done.stderr


def test_a_worker_that_cannot_load_a_function_ends_no_run_that_others_can_do(ttg: TtgRun, tmp_path: Path) -> None:
    (tmp_path / "refused.py").write_text(REFUSED)
    go, server = tmp_path / "go", RedisServer(valkey_program()).start()
    environment = {**os.environ, "GO_FILE": str(go), "BROKEN": "yes"}
    target, options = f"{tmp_path}/refused.py:f", ("--workers", "1", "--chunk-size", "1", "--broker", server.url)
    worker = subprocess.Popen(
        [sys.executable, "-m", "ttg", "worker", "--broker", server.url, "--allow", target],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ttg.environment = {"GO_FILE": str(go)}
        ttg.start("run", target, "i=range(0,20)", *options, "--out", str(ttg.folder))
        eventually(lambda: "does not work on this run" in ttg.said(), "the other worker refuses")
        go.touch()
        assert ttg.wait() == 0, ttg.said()
        hopeless = TtgRun(tmp_path / "hopeless", ttg.home, environment)
        assert hopeless.start("run", target, "i=range(0,20)", *options, "--out", str(hopeless.folder)).wait() == 2
        assert "no worker is left that could run this" in hopeless.said()
    finally:
        worker.terminate()
        worker.wait(30)
        server.close()
