"""The run folder: where a run lives on disk, how it is found again, and who may write to it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from ttg.clock import unix_time
from ttg.errors import InputError, MessageError, RunConflictError, StorageError
from ttg.messages import Message, RunStatus, decode
from ttg.spec import RunSpec

FILES = "files"
RUN_FILE = "run.json"
LOCK_FILE = "lock"
LOGS = "logs"
LOCK_TRIES, LOCK_PAUSE_SECONDS = 5, 0.01
_LIBRARIES = ("ttg", "pyarrow", "numpy", "pyroaring", "msgspec", "hiredis", "pika")


class RunInfo(Message, frozen=True, kw_only=True, omit_defaults=False):
    """The contents of ``run.json``. Times are Unix seconds; ``seconds`` is how long coordinators were at it.

    ``state`` is what its coordinator said last, ``epoch`` which one that was, counted. ``statistics`` maps a column to
    its count, nulls, sum, min, max and mean (once the run is finalised). ``started_in`` is the folder in which somebody
    started it, ``python_path`` the ``sys.path`` of the script or notebook that did, and ``git`` the commit of the
    function, if known. The pickle of a function without a file is not in ``spec``, but among the inputs.
    """

    spec: RunSpec
    state: RunStatus = RunStatus.ACTIVE
    epoch: int = 0
    created: float
    updated: float
    seconds: float = 0.0
    size: int
    done: int = 0
    dead: int = 0
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    statistics: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    python_path: tuple[str, ...] = ()
    git: dict[str, str | bool] = msgspec.field(default_factory=dict)
    started_in: str = ""


class RunFolder:
    """One run on disk. Make it with :meth:`create` or :meth:`open`; hold :meth:`lock` while you write to it."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        self.path = path
        self.info = info

    @classmethod
    def create(
        cls, path: Path | str, spec: RunSpec, home: Path | None = None, *, python_path: tuple[str, ...] = ()
    ) -> RunFolder:
        """A new run folder at ``path`` (made if needed, must be empty), and its link under ``home``.

        Raises ``RunConflictError`` (there is something else), ``StorageError`` (not writable).
        """
        path = _in_unicode(Path(path).absolute())
        with disk_errors(path):
            _claim(path)
            for name in ("results", "dead", LOGS):
                (path / name).mkdir(exist_ok=True)
            now = unix_time()
            info = RunInfo(spec=spec, created=now, updated=now, size=spec.size, versions=_versions())
            folder = cls(path, msgspec.structs.replace(info, started_in=os.getcwd(), python_path=python_path))
            folder._write()
        if home is not None:
            link_run(folder, home)
        return folder

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """The run at ``path``; ``InputError`` when there is none, ``StorageError`` when it cannot be read."""
        path = _in_unicode(Path(path).absolute())
        with disk_errors(path):
            try:
                data = (path / RUN_FILE).read_bytes()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise InputError(
                    f"expected a run folder (with a {RUN_FILE}), got {path}: `ttg runs` lists runs"
                ) from error
        try:
            return cls(path, decode(data, RunInfo))
        except MessageError as error:
            raise StorageError(f"{path / RUN_FILE} is damaged or of another TTG version: {error}") from error

    def read_again(self) -> RunFolder:
        """As it is now."""
        return RunFolder.open(self.path)

    @property
    def spec(self) -> RunSpec:
        """The run's frozen specification."""
        return self.info.spec

    @property
    def status(self) -> RunStatus:
        """How the run stands: one that should be active, but whose folder nobody holds, is abandoned."""
        if self.info.state is RunStatus.ACTIVE and not RunLock.is_held(self.path):
            return RunStatus.ABANDONED
        return self.info.state

    @property
    def heard_at(self) -> float:
        """When a coordinator last gave a sign of life here, in Unix seconds."""
        with contextlib.suppress(OSError):
            return max(self.info.updated, (self.path / LOCK_FILE).stat().st_mtime)
        return self.info.updated

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the run is on disk, neither results nor dead letters; somebody may have removed all."""
        return not any(self.results.glob("*")) and not any(self.dead.glob("*"))

    @property
    def results(self) -> Path:
        """Folder of the result parts."""
        return self.path / "results"

    @property
    def dead(self) -> Path:
        """Folder of the dead-letter parts."""
        return self.path / "dead"

    @property
    def logs(self) -> Path:
        """Folder of the local workers' logs."""
        return self.path / LOGS

    @property
    def code(self) -> Path:
        """Folder with copies of the function's module and of those of the user's own that it imports."""
        return self.path / "code"

    @property
    def broker(self) -> Path:
        """Folder of the embedded server, which makes it."""
        return self.path / "broker"

    @property
    def history(self) -> Path:
        """File of what happened in the run, for those who look at it later."""
        return self.path / "history.json.gz"

    @property
    def store(self) -> Path:
        """Folder of the results that are not collected yet, while the run is unfinished."""
        return self.path / "store"

    @property
    def files(self) -> Path:
        """Folder of what calls have left in their ``workdir``: a folder for each index that has left something."""
        return self.inputs.with_name(FILES)

    @property
    def inputs(self) -> Path:
        """Folder of the large objects that function and specification refer to."""
        return self.path / "inputs"

    def input(self, name: str) -> Path:
        """The file of one of them."""
        return self.inputs / name

    def update(self, **changes: Any) -> None:
        """Replace fields of :class:`RunInfo` and write ``run.json`` atomically."""
        versions = self.info.versions | _versions()
        self.info = msgspec.structs.replace(self.info, updated=unix_time(), versions=versions, **changes)
        with disk_errors(self.path):
            self._write()

    def _write(self) -> None:
        text = msgspec.json.format(msgspec.json.encode(self.info), indent=2)
        write_atomically(self.path / RUN_FILE, text)

    def lock(self) -> RunLock:
        """The right to write to this run; a second holder gets a ``RunConflictError`` that names the first.

        Held until ``close()`` (or the end of a ``with`` block), or until the process ends, however it ends.
        """
        return RunLock(self.path)


class RunLock:
    """A held lock on a run folder (``flock``)."""

    def __init__(self, path: Path) -> None:
        with disk_errors(path):
            self._file = open(path / LOCK_FILE, "a+b", buffering=0)  # noqa: SIM115 - held until close()
        if not self._try():
            holder = self._holder()
            self._file.close()
            raise RunConflictError(
                f"{path} is in use by another coordinator ({holder}): wait for it to end, or stop it"
            )
        with contextlib.suppress(OSError):  # a full disk, say: who holds it is for people
            self._file.truncate(0)
            self._file.write(f"pid {os.getpid()} on {socket.gethostname()}".encode())

    def _try(self) -> bool:
        """More than once: somebody may only be looking (:meth:`is_held`)."""
        for _ in range(LOCK_TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(LOCK_PAUSE_SECONDS)
        return False

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether somebody holds the lock of the run at ``path``."""
        try:
            with open(path / LOCK_FILE, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def touch(self) -> None:
        """Show that the holder lives, to those who cannot see the lock."""
        with contextlib.suppress(OSError):
            os.utime(self._file.fileno())

    def _holder(self) -> str:
        self._file.seek(0)
        return self._file.read(200).decode(errors="replace").strip() or "unknown process"

    def close(self) -> None:
        """Give the lock back. Idempotent."""
        self._file.close()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, durably: a crash leaves the old or the new content, never a mixture."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    publish_file(temporary, path)


def publish_file(temporary: Path, path: Path) -> None:
    """Give a written and synced file its name, durably."""
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _in_unicode(path: Path) -> Path:
    """``path``, unless its name is of bytes that are not UTF-8: neither JSON nor Arrow takes such a name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"expected a run folder named in UTF-8, got {str(path)!r}: rename it, or choose --out"
        ) from None
    return path


def _claim(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if (path / RUN_FILE).exists():
        raise RunConflictError(
            f"{path} holds a run already: `ttg resume {path}` goes on with it, or choose another --out"
        )
    if any(path.iterdir()):
        raise RunConflictError(f"{path} is not empty and not a run: choose an empty or a new folder for --out")


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError) -> StorageError:
    """One line that says what is wrong with the disk and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"no space left for {path}: nothing is lost, free some space and it goes on")
    return StorageError(f"cannot use {path}: {error.strerror or error}: choose a writable folder with --out")


def _versions() -> dict[str, str]:
    """Of Python and of those libraries that this process uses."""
    used = {name: sys.modules[name].__version__ for name in _LIBRARIES if name in sys.modules}
    return {"python": platform.python_version(), **used}


# ---------------------------------------------------------------------------------------------- finding runs again


def link_run(folder: RunFolder, home: Path) -> None:
    """Make the run findable by its id: ``home/runs/<id>`` links to the folder. ``home`` that cannot be written is no
    reason to fail: the run is then found by its path only."""
    link = home / "runs" / folder.spec.run
    with contextlib.suppress(OSError):
        if link.is_symlink() and link.readlink() == folder.path:
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{link.name}.{os.getpid()}")
        temporary.symlink_to(folder.path)
        os.replace(temporary, link)


def list_runs(home: Path, beginning: str = "") -> list[RunFolder]:
    """The runs known under ``home`` that still exist, oldest first; with ``beginning``, those whose id begins so."""
    found: dict[Path, RunFolder] = {}
    for link in sorted((home / "runs").glob("[!.]*")):
        with contextlib.suppress(InputError, StorageError):
            if link.name.startswith(beginning):
                folder = RunFolder.open(link.resolve())
                if folder.spec.run == link.name:  # otherwise another run has been given that folder since
                    found[folder.path] = folder
    return sorted(found.values(), key=lambda folder: folder.info.created)


def list_runs_of(here: Path, home: Path) -> list[RunFolder]:
    """Those of them that were started in the folder ``here`` or below, or lie there."""
    return [
        run for run in list_runs(home) if any(Path(at).is_relative_to(here) for at in (run.info.started_in, run.path))
    ]


def find_run(text: str | Path, home: Path) -> RunFolder:
    """The run that a person means: a path, ``last`` (of this folder), an id, or the beginning of exactly one id."""
    text = str(text)
    with contextlib.suppress(OSError, ValueError):  # what cannot be a path may still be an id
        for place in (Path(text), Path(text).parent):  # what a run says of its table is a folder in its own
            if (place / RUN_FILE).is_file() and Path(text).exists():
                return RunFolder.open(place)
    if text == "last":
        return _last_run(home)
    matches = list_runs(home, text)
    matches = [run for run in matches if run.spec.run == text] or matches
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(run.spec.run for run in matches[:5])
        more = f" and {len(matches) - 5} others" if len(matches) > 5 else ""
        raise InputError(f"{text!r} could be any of {names}{more}: give more of the id")
    raise InputError(f"no run {text!r}: {_known(text, home)}")


def _last_run(home: Path) -> RunFolder:
    if runs := list_runs_of(Path.cwd(), home):
        return runs[-1]
    everywhere = list_runs(home)
    where = f": `ttg runs --all` lists those of other folders, last {everywhere[-1].spec.run}" if everywhere else ""
    raise InputError(
        f"no run was started in this folder or below{where or ', and no runs are known under ' + str(home)}"
    )


def _known(text: str, home: Path) -> str:
    names = [run.spec.run for run in list_runs(home)]
    if not names:
        return f"no runs are known under {home}; give the path of a run folder"
    if close := get_close_matches(text, names, 1):
        return f"did you mean {close[0]}? `ttg runs` lists them"
    return f"`ttg runs --all` lists the {len(names)} known ones; a path or 'last' works, too"


def forget_run(folder: RunFolder, home: Path, *, delete: bool = False) -> None:
    """Remove the link of a run, if it is not another's by now, and with ``delete`` its folder."""
    link = home / "runs" / folder.spec.run
    if link.is_symlink() and link.readlink() == folder.path:
        link.unlink()
    if delete and folder.path.exists():
        shutil.rmtree(folder.path)
