"""In a child: a folder of its own for each call of a function that asks for ``workdir``; what it leaves there is packed
for the coordinator when the call has returned.

::

    TMPDIR/ttg-work-UID/CHILD/      removed by the child's worker when the child is gone
                         12-3/      of the call of index 12; the number makes the folders of two attempts differ

While a child lives it holds a lock on its folder. Folders that nobody holds were left behind by workers that were
killed; the next child removes them.
"""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ttg.errors import FunctionError
from ttg.stores import INLINE_BYTES

if TYPE_CHECKING:
    from tarfile import TarFile

MAX_BYTES, MAX_FILES = 4 << 30, 10_000
"""Of one call, as packed."""
REPORT_BYTES = 64 << 20
"""A report with more is due."""
HEAD_BYTES, BLOCK_BYTES = 1024, 512

_numbers = count(1)
_held: dict[Path, int] = {}


class TooManyFiles(Exception):
    """What a call has left cannot be collected; ``final``: nor could any other worker's."""

    def __init__(self, text: str, *, final: bool) -> None:
        super().__init__(text)
        self.final = final


class Workdirs:
    """Those of one run in a child, below ``root``. ``shared``: the run has a store that this worker shares; otherwise
    files must fit a message, for a reason that ``unshared`` gives if there should be one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        _hold(root)
        self.shared, self.unshared = True, ""
        self._kept: dict[int, tuple[Path, int]] = {}

    def giving(self, function: Callable[..., Any], place: int) -> Callable[..., Any]:
        """``function``, called with a new folder where ``place`` of the arguments is the parameter's index."""

        def call(*values: Any) -> Any:
            index = values[place]
            folder = self._root / f"{index}-{next(_numbers)}"
            folder.mkdir()
            try:
                result = function(*values[:place], folder, *values[place + 1 :])
                self._keep(index, folder)
            except BaseException:
                remove(folder)
                raise
            return result

        return call

    def _keep(self, index: int, folder: Path) -> None:
        sizes = [path.stat().st_size for path, _ in _files(folder)]
        size = sum(HEAD_BYTES + -(-size // BLOCK_BYTES) * BLOCK_BYTES for size in sizes)
        most = MAX_BYTES if self.shared else INLINE_BYTES
        if size > most or len(sizes) > MAX_FILES:
            self._refuse(len(sizes), size, most)
        if sizes:
            self._kept[index] = folder, size
        else:
            remove(folder)

    def _refuse(self, files: int, size: int, most: int) -> None:
        expected = f"expected at most {MAX_FILES:,} files with {_size(most)} together in workdir"
        text = f"{expected}, got {files:,} with {_size(size)}"
        if self.shared:
            raise TooManyFiles(f"{text}: remove what need not be kept, or write it elsewhere", final=True)
        raise TooManyFiles(f"{text}: {self.unshared or 'give the run a --store'}", final=not self.unshared)

    @property
    def is_full(self) -> bool:
        """Whether what is kept should be reported."""
        return sum(size for _, size in self._kept.values()) >= (REPORT_BYTES if self.shared else INLINE_BYTES)

    @contextmanager
    def packed(self, indices: Iterator[int]) -> Iterator[tuple[list[int], IO[bytes]]]:
        """Those of ``indices`` whose calls have left files, and a tar archive with these, each below its index."""
        import tarfile

        of = {index: self._kept[index][0] for index in indices if index in self._kept}
        small = sum(self._kept[index][1] for index in of) <= INLINE_BYTES
        with io.BytesIO() if small else (self._root / "archive").open("w+b") as file:
            if of:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
                    _add(archive, of)
            yield list(of), file

    def forget(self) -> None:
        """Remove what was kept: it is reported, or to be done again."""
        for folder, _ in self._kept.values():
            remove(folder)
        self._kept.clear()
        (self._root / "archive").unlink(missing_ok=True)


def _add(archive: TarFile, folders: Mapping[int, Path]) -> None:
    for index, folder in folders.items():
        for path, name in _files(folder):
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                member = archive.tarinfo(f"{index}/{name}")
                member.size, member.mode = found.st_size, stat.S_IMODE(found.st_mode)
                archive.addfile(member, file)


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Regular files, with their names below ``folder``. Links are left out: they lead to what is not of the call."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path, path.relative_to(folder).as_posix()


def _size(size: int) -> str:
    number, unit = (size >> 10, "KiB") if size < 1 << 20 else (size >> 20, "MiB")
    return f"{number:,} {unit}" if size < 1 << 30 else f"{size / (1 << 30):.3g} GiB"


# ---------------------------------------------------------------------------------------------- the folder of a child


def work_of(mark: str) -> Path:
    """The folder of the child with that mark (:data:`ttg.worker.limits.MARK`)."""
    return Path(os.environ.get("TMPDIR") or "/tmp", f"ttg-work-{os.getuid()}", mark)


def remove(folder: Path) -> None:
    """With all that is in it, also in folders that a call has made read-only."""
    with suppress(OSError):
        folder.rmdir()  # most have nothing in it
    if folder.exists():
        import shutil  # which most children never need

        shutil.rmtree(folder, ignore_errors=True)
        for place, _, _ in os.walk(folder):
            os.chmod(place, 0o700)
        shutil.rmtree(folder, ignore_errors=True)


def _hold(root: Path) -> None:
    """Make the folder of this process, once, and hold it. ``FunctionError`` where that cannot be."""
    if root in _held:
        return
    parent = root.parent
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if parent.lstat().st_uid != os.getuid():
            raise FunctionError(f"expected {parent} to be yours: set TMPDIR to a folder that is")
        with (parent / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for folder in parent.iterdir():
                _remove_unless_held(folder)
            root.mkdir()
            _held[root] = os.open(root, os.O_RDONLY)
            fcntl.flock(_held[root], fcntl.LOCK_EX)
    except OSError as error:
        text = f"cannot make the folders for its calls in {parent}: {error.strerror or error}"
        raise FunctionError(f"{text}: set TMPDIR to a folder with room, that this user may write to") from error


def _remove_unless_held(folder: Path) -> None:
    if not folder.is_dir():
        return
    with suppress(OSError):
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
        finally:
            os.close(held)
