"""Folders of calls: made, packed, unpacked beside the table, and removed."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ttg.brokers.base import ResultMessage
from ttg.errors import FunctionError, StoreError
from ttg.messages import Files, Ranges, ResultHeader, Stored
from ttg.run.collected_files import save_files
from ttg.run.stored_results import StoredResults
from ttg.stores import INLINE_BYTES, ObjectLost, Store, open_store
from ttg.worker import workdirs
from ttg.worker.workdirs import TooManyFiles, Workdirs


def leaving(size: int = 3) -> Callable[[int, Path], Path]:
    """A function that leaves two files and a link, and returns its folder."""

    def call(index: int, workdir: Path) -> Path:
        assert not any(workdir.iterdir())
        (workdir / "sub").mkdir()
        (workdir / "sub" / "b").write_bytes(b"%d" % index * size)
        (workdir / "a").write_text(f"{index}")
        (workdir / "a").chmod(0o755)
        (workdir / "link").symlink_to("/etc/passwd")
        return workdir

    return call


@pytest.fixture
def dirs(tmp_path: Path) -> Workdirs:
    return Workdirs(tmp_path / "work" / "child")


def archive_of(dirs: Workdirs, indices: list[int]) -> bytes:
    with dirs.packed(iter(indices)) as (_, file):
        file.seek(0)
        return file.read()


def found(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_what_calls_leave_comes_back_whole(dirs: Workdirs, tmp_path: Path) -> None:
    call = dirs.giving(leaving(), 1)
    folders = [call(index, index) for index in (1, 2, 2)]
    assert len(set(folders)) == 3, "no two attempts share one"
    save_files(Files(inline=archive_of(dirs, [1, 2, 7])), {1, 2}, None, tmp_path / "files")
    assert found(tmp_path / "files") == {"1/a": "1", "1/sub/b": "111", "2/a": "2", "2/sub/b": "222"}
    assert os.access(tmp_path / "files" / "1" / "a", os.X_OK)
    dirs.forget()
    assert not folders[0].exists()


def test_only_of_the_indices_that_are_wanted_and_nowhere_else(dirs: Workdirs, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("1/ok", "2/not wanted", "../1/out", "1/../../out", "/1/out", "1"):
            archive.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("1/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    save_files(Files(inline=stream.getvalue()), {1}, None, tmp_path / "run" / "files")
    assert found(tmp_path) == {"run/files/1/ok": "", "work/lock": ""}


def test_a_later_message_replaces_what_was_never_counted(dirs: Workdirs, tmp_path: Path) -> None:
    old = tmp_path / "files" / "1"
    old.mkdir(parents=True)
    (old / "of an attempt that was not counted").touch()
    dirs.giving(leaving(), 1)(1, 1)
    save_files(Files(inline=archive_of(dirs, [1])), {1}, None, tmp_path / "files")
    assert found(tmp_path / "files") == {"1/a": "1", "1/sub/b": "111"}


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9000] + b"x" + data[-8999:], lambda data: data[:5000], lambda _: None]
)
def test_what_is_damaged_or_gone_is_not_had_at_all(dirs: Workdirs, tmp_path: Path, damage: Any) -> None:
    ref = Store.create(str(tmp_path / "store"))
    dirs.giving(leaving(300_000), 1)(1, 1)
    stored = open_store(ref).put(archive_of(dirs, [1]))
    place = tmp_path / "store" / stored.name
    if (data := damage(place.read_bytes())) is None:
        place.unlink()
    else:
        place.write_bytes(data)
    with pytest.raises(ObjectLost):
        save_files(Files(stored=stored), {1}, open_store(ref), tmp_path / "files")
    assert not (tmp_path / "files" / "1").exists()


def test_a_call_that_fails_or_leaves_nothing_leaves_no_folder(dirs: Workdirs, tmp_path: Path) -> None:
    def fail(index: int, workdir: Path) -> None:
        leaving()(index, workdir)
        (workdir / "sub").chmod(0o500)
        raise ValueError(index)

    with pytest.raises(ValueError, match="1"):
        dirs.giving(fail, 1)(1, 1)
    dirs.giving(lambda index, workdir: None, 1)(2, 2)
    assert not any((tmp_path / "work" / "child").iterdir())


@pytest.mark.parametrize(
    ("shared", "unshared", "words", "final"),
    [
        (
            False,
            "",
            "at most 10,000 files with 192 KiB together in workdir, got 2 with 578 KiB: give the run a --store",
            True,
        ),
        (False, "/nfs is not here", "got 2 with 578 KiB: /nfs is not here", False),
        (True, "", "", False),
    ],
)
def test_what_fits_no_message_needs_a_store(
    dirs: Workdirs, shared: bool, unshared: str, words: str, final: bool
) -> None:
    dirs.shared, dirs.unshared = shared, unshared
    call = dirs.giving(leaving(3 * INLINE_BYTES), 1)
    if shared:
        assert call(1, 1).exists()
        return
    with pytest.raises(TooManyFiles, match=words) as caught:
        call(1, 1)
    assert caught.value.final == final


def test_too_much_is_refused_with_what_to_do(dirs: Workdirs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workdirs, "MAX_FILES", 1)
    with pytest.raises(TooManyFiles, match=r"at most 1 files .* got 2 with .*: remove what need not be kept") as caught:
        dirs.giving(leaving(), 1)(1, 1)
    assert caught.value.final


def test_what_a_killed_worker_has_left_goes_with_the_next_child(dirs: Workdirs, tmp_path: Path) -> None:
    (tmp_path / "work" / "killed" / "1-1").mkdir(parents=True)
    Workdirs(tmp_path / "work" / "next")
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["child", "lock", "next"]


def test_where_no_folder_can_be_made_the_worker_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FunctionError, match=r"cannot make the folders for its calls in .*: set TMPDIR to a folder"):
        Workdirs(tmp_path / "file" / "work" / "child")


def test_files_of_a_row_are_of_the_message_that_brought_it(tmp_path: Path) -> None:
    def message(cursor: str, ranges: Ranges, files: Files | None = Files()) -> ResultMessage:  # noqa: B008 - frozen
        return ResultMessage(cursor, ResultHeader("r", cursor, ranges, 1, "w", 0, 0.0, 0.0, files=files), b"")

    settled = {5}
    results = StoredResults(
        None, lambda ranges: tuple((i, i + 1) for a, b in ranges for i in range(a, b) if i not in settled), tmp_path
    )
    messages = [
        message("1", ((0, 2),)),
        message("2", ((1, 3),)),
        message("3", ((5, 6),)),
        message("4", ((7, 8),), None),
    ]
    assert results._wanted_files(messages) == {"1": {0, 1}, "2": {2}}


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that cannot be read")
def test_a_store_that_stops_answering_while_files_are_read_is_in_trouble(tmp_path: Path) -> None:
    """Which is waited for; any other error would end the run."""
    store = open_store(Store.create(str(tmp_path / "store")))
    stored = Stored("a" * 32, 10, 0)
    (tmp_path / "store" / stored.name).symlink_to("/proc/self/mem")  # whose first page nobody has
    with pytest.raises(StoreError, match=r"cannot use the store .*: Input/output error"):
        save_files(Files(stored=stored), {1}, store, tmp_path / "files")
