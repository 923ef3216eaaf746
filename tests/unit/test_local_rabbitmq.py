"""Which RabbitMQ is started: the first on PATH, and not a system-wide one in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttg.demo import local_rabbitmq
from ttg.demo.local_rabbitmq import find_scripts


def install(folder: Path, *programs: str) -> Path:
    folder.mkdir()
    for program in programs:
        (folder / program).touch(mode=0o755)
    return folder


def test_scripts_on_path_are_used_though_a_package_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = install(tmp_path / "ours", "rabbitmq-server", "rabbitmq-env")
    packaged = install(tmp_path / "packaged", "rabbitmq-server", "rabbitmq-env")
    monkeypatch.setattr(local_rabbitmq, "PACKAGED_SCRIPTS", packaged)
    monkeypatch.setenv("PATH", str(ours))
    assert find_scripts() == ours


def test_the_packages_wrapper_on_path_stands_for_its_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = install(tmp_path / "wrapper", "rabbitmq-server")
    packaged = install(tmp_path / "packaged", "rabbitmq-server", "rabbitmq-env")
    monkeypatch.setattr(local_rabbitmq, "PACKAGED_SCRIPTS", packaged)
    monkeypatch.setenv("PATH", str(wrapper))
    assert find_scripts() == packaged


def test_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_scripts() is None
