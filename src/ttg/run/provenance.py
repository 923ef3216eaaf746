"""What a run is made from: copies of the user's own modules, what has changed in them since, and the commit."""

from __future__ import annotations

import difflib
import os
import subprocess
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from ttg.function import same
from ttg.results.folder import RunFolder, disk_errors
from ttg.spec import FunctionRef, RunSpec

SHOWN_LINES = 16
GIT_SECONDS = 1.0


def save_sources(folder: RunFolder, texts: Mapping[str, str]) -> None:
    """Keep the sources of a run, by module name, if there are any, instead of those before."""
    if not texts:
        return
    with disk_errors(folder.code):
        folder.code.mkdir(exist_ok=True)
        for file in folder.code.glob("*.py"):
            file.unlink()
        for name, text in texts.items():
            (folder.code / f"{name}.py").write_text(text, encoding="utf-8", newline="")


def change_since(folder: RunFolder, now: RunSpec, texts: Mapping[str, str]) -> tuple[str, str]:
    """What of function and setup has changed since the run began, in words (none if nothing has), and the first lines
    that differ. ``now`` is the run as it is at present, ``texts`` the present sources."""
    for before, present in zip(folder.spec.called, now.called, strict=True):
        if change := _change(before, present):
            return f"{change} since run {now.run} began", _differences(folder.code, texts)
    return "", ""


def _change(before: FunctionRef, now: FunctionRef) -> str:
    helpers = sorted({*before.helpers, *now.helpers})
    changed = [name for name in helpers if not same(before.helpers.get(name), now.helpers.get(name))]
    if before.code == now.code and not changed:
        return ""
    modules = f" ({', '.join(changed)}, which it imports)" if changed else ""
    return f"{before} has changed{modules}"


def _differences(kept: Path, texts: Mapping[str, str]) -> str:
    """The first lines of what differs from the copies."""
    lines: list[str] = []
    for file in sorted(kept.glob("*.py")):
        before, now = file.read_text(encoding="utf-8", errors="replace"), texts.get(file.stem, "")
        names = f"{file.stem} then", f"{file.stem} now"
        lines += difflib.unified_diff(before.splitlines(), now.splitlines(), *names, n=1, lineterm="")
    more = [f"… {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
    return "".join(f"\n  {line}" for line in (*islice(lines, SHOWN_LINES), *more))


def commit_of(place: Path) -> dict[str, str | bool]:
    """``commit`` and whether it is ``dirty`` (tracked files have changed), of the repository at ``place``; empty if it
    is none, or git does not answer in a second."""
    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        said = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        ).stdout.splitlines()
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    commit = next((line.split()[-1] for line in said if line.startswith("# branch.oid ")), "")
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in said)}
