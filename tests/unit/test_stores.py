"""Stores: what is read is what was written or is lost, and who shares one knows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from results_fakes import Run

from ttg.errors import MessageError, StoreError
from ttg.messages import Stored, decode, encode
from ttg.run.stored_results import StoredResults
from ttg.stores import Store, open_store
from ttg.stores.cache import cached

INPUT = "a" * 32


@pytest.mark.parametrize("name", ["../run.json", "proof", "/etc/hosts", "", "a" * 32 + "\n"])
def test_a_message_names_nothing_but_objects(name: str) -> None:
    """What it names is read, and removed."""
    with pytest.raises(MessageError, match="name"):
        decode(encode(Stored(name, 1, 1)), Stored)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_place_with_something_else_in_it_is_not_cleared(scheme: str, tmp_path: Path) -> None:
    """A run folder says where its store is, and may come from somebody else."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine")
    ref = Store.create(f"{scheme}{tmp_path / 'precious'}", named=True)
    with pytest.raises(StoreError, match="thesis"):
        open_store(ref).clear()
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "mine"


def test_a_folder_of_copies_that_somebody_else_named_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shared machines have one folder of temporary files for all; links there are anybody's."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "old").touch()
    os.utime(tmp_path / "home" / "old", (1, 1))
    link = tmp_path / f"ttg-inputs-{os.getuid()}"
    link.symlink_to(tmp_path / "home")
    lstat = Path.lstat
    monkeypatch.setattr(Path, "lstat", lambda path: _of_somebody_else(lstat(path)) if path == link else lstat(path))
    with pytest.raises(StoreError, match="to be yours"):
        cached("a" * 32, 3, lambda: b"abc")
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["old"]


def _of_somebody_else(found: os.stat_result) -> os.stat_result:
    return os.stat_result([*found[:4], found.st_uid + 1, *found[5:10]])


async def test_only_what_is_lacking_is_read_and_what_is_lost_stays_without_a_payload(tmp_path: Path) -> None:
    ref = Store.create(str(tmp_path / "store"))
    store, run = Store.attach(ref), Run(tmp_path / "r", 30)
    sent = [run.message(((start, start + 10),)) for start in (0, 10, 20)]
    kept, known, lost = [run.message(m.header.ranges, stored=store.put(m.payload)) for m in sent]
    run.collector.add(sent[1])
    assert lost.header.stored
    store.remove([lost.header.stored.name])
    stored = StoredResults(ref, run.collector.lacking, run.collector.folder.inputs)
    read = await stored.fetch([type(m)(m.cursor, m.header, b"") for m in (kept, known, lost)])
    assert [bytes(message.payload) for message in read] == [sent[0].payload, b"", b""]


async def test_nothing_is_lost_of_a_store_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    ref = Store.create(str(tmp_path / "mount" / "store"), named=True)
    run = Run(tmp_path / "r", 10)
    message = run.message(((0, 10),), stored=Store.attach(ref).put(b"rows"))
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    stored, messages = (
        StoredResults(ref, run.collector.lacking, run.collector.folder.inputs),
        [type(message)("1", message.header, b"")],
    )
    with pytest.raises(StoreError):
        await stored.fetch(messages)
    (tmp_path / "unmounted").rename(tmp_path / "mount")
    assert bytes((await stored.fetch(messages))[0].payload) == b"rows"


def test_a_copy_on_this_machine_follows_what_the_store_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = open_store(Store.create(str(tmp_path / "store"), named=True))
    store.write("a", b"all")
    copies = [store.local_copy("a").read_bytes()]
    store.write("a", b"all of it")
    copies.append(store.local_copy("a").read_bytes())
    assert copies == [b"all", b"all of it"]
