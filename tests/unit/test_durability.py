"""What is committed is on the disk before it has its name, and its name is on the disk before the broker may forget."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from results_fakes import Run

from ttg.results.folder import write_atomically


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reached the disk and when, in order; the calls themselves are made."""
    seen: list[str] = []

    def watch(name: str, told: Callable[..., str]) -> None:
        real = getattr(os, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            result = real(*arguments, **named)
            seen.append(f"{name} {told(*arguments)}")
            return result

        monkeypatch.setattr(os, name, watched)

    watch("fsync", lambda descriptor: Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
    watch("replace", lambda source, target: f"{Path(source).name} {Path(target).name}")
    return seen


def test_a_part_is_synced_before_it_gets_its_name(tmp_path: Path, steps: list[str]) -> None:
    run = Run(tmp_path / "r", 4)
    run.add(((0, 3),), dead=[3])
    steps.clear()
    run.flush()
    for folder, (part,) in {name: _parts(tmp_path / "r" / name) for name in ("results", "dead")}.items():
        synced, named, folder_synced = (
            steps.index(step) for step in (f"fsync {part}.tmp", f"replace {part}.tmp {part}", f"fsync {folder}")
        )
        assert synced < named < folder_synced, steps


def _parts(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.parquet")]


def test_a_small_file_is_synced_before_it_replaces_the_old_one(tmp_path: Path, steps: list[str]) -> None:
    write_atomically(tmp_path / "run.json", b"{}")
    assert steps == ["fsync run.json.tmp", "replace run.json.tmp run.json", f"fsync {tmp_path.name}"]
