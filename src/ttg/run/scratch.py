"""Temporary folders of programs that may be killed: the next program of this user removes what was left."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from ttg.brokers.embedded import try_lock

LOCK = "in-use"


class Scratch:
    """A fresh folder, locked for as long as this process lives or until it is removed. ``kind`` is in its name."""

    def __init__(self, kind: str) -> None:
        _sweep(kind)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=f"ttg-{kind}-"))
            self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            if try_lock(self._lock) and os.fstat(self._lock).st_nlink:
                return
            os.close(self._lock)  # somebody who sweeps is faster, or was

    def remove(self) -> None:
        """It is not needed any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1


def _sweep(kind: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"ttg-{kind}-*"):
        with suppress(OSError):
            if folder.lstat().st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink():
                _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    lock = os.open(folder / LOCK, os.O_RDWR)
    try:
        if try_lock(lock):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
