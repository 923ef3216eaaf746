"""Objects of stores, once on this machine, for as long as somebody uses them and a day longer."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ttg.errors import StoreError

KEPT_SECONDS = 86_400.0


def cached(name: str, size: int | None, read: Callable[[], Any]) -> Path:
    """The file of the object of that name and size; the first process that asks for it reads it, others wait for
    that."""
    folder = Path(tempfile.gettempdir()) / f"ttg-inputs-{os.getuid()}"
    path = folder / name
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise StoreError(f"expected {folder} to be yours: set TMPDIR to a folder that is")
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists() or path.stat().st_size != size:
                _forget_old(folder)
                write_copy(path, read())
            os.utime(path)
    except OSError as error:
        raise StoreError(f"cannot keep an input of the run in {folder}: {error.strerror or error}") from error
    return path


def write_copy(path: Path, data: Any) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:  # on a full disk, half of it is in everybody's way
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _forget_old(folder: Path) -> None:
    for file in folder.iterdir():
        with suppress(OSError):
            if file.name != "lock" and time.time() - file.stat().st_mtime > KEPT_SECONDS:
                file.unlink()
