"""The store of a run that does not begin: its inputs are copied beside the event loop, and what was made is removed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from results_fakes import spec_of

from ttg.errors import StoreError
from ttg.results.folder import RunFolder
from ttg.run.stored_results import make_store
from ttg.stores.folder import FolderStore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Of a run with an input, on another file system than its store."""

    def link(*_: Any) -> None:
        raise OSError("expected one file system")

    monkeypatch.setattr(os, "link", link)
    folder = RunFolder.create(tmp_path / "run", spec_of(1))
    folder.inputs.mkdir()
    (folder.inputs / ("a" * 32)).write_bytes(b"x" * 1000)
    return folder


async def test_who_gives_up_does_not_wait_for_a_copy(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying, pieces, loop = asyncio.Event(), FolderStore.pieces, asyncio.get_running_loop()

    def endless(store: FolderStore, data: Any) -> Iterator[memoryview]:
        while bytes(data)[:1] == b"x":
            yield from pieces(store, data)
            loop.call_soon_threadsafe(copying.set)
        yield from pieces(store, data)

    monkeypatch.setattr(FolderStore, "pieces", endless)
    making = asyncio.create_task(make_store(str(tmp_path / "store"), folder))
    await copying.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert not (tmp_path / "store").exists()


async def test_a_store_that_is_full_before_the_run_begins_is_removed(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: FolderStore, data: Any) -> Iterator[memoryview]:
        if len(data) > 100:
            raise StoreError("no space left")
        return iter([memoryview(data)])

    monkeypatch.setattr(FolderStore, "pieces", full)
    with pytest.raises(StoreError, match="no space"):
        await make_store(str(tmp_path / "store"), folder)
    assert not (tmp_path / "store").exists()
    assert os.listdir(folder.inputs)
