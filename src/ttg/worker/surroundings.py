"""What a call may change of its process and the next one must not see: the folder, the umask, the environment.

Looked at once per slice of calls, which costs about five microseconds. If a slice has changed something, its calls are
repeated one by one, each from the same start, and so go all later ones of that run: then a result depends neither on
what was executed before it nor on how a run is cut into chunks.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

_STATUS = "/proc/self/status"
_OWN_THREADS = 2  # the main one, and the one that waits for the end of the parent pipe
_NO_FINDERS = sys.stdlib_module_names | {"ttg", "numpy"}
"""Modules that tell nobody by the environment where to find their files; we import some for a call that fails."""


class Surroundings:
    """Those of a process when this is made; a run's: when its function was loaded, which may have arranged them."""

    def __init__(self) -> None:
        self._folder, self._mask = _folder(), _umask()
        self._environment = dict(_environment())
        self._modules = set(sys.modules)

    def begin(self) -> None:
        """Calls follow: what was imported before was not imported by them."""
        if len(sys.modules) != len(self._modules):
            self._modules = set(sys.modules)

    def restore(self) -> list[str]:
        """Make them as they were; returns what was not."""
        changed = []
        if (folder := _folder()) != self._folder:
            changed.append(f"the folder ({folder})")
            self._return_to_folder()
        if (mask := _umask()) != self._mask:
            changed.append(f"the umask ({mask:03o})")
            os.umask(self._mask)
        if _environment() != self._environment and (names := self._restore_environment()):
            changed.append(f"the environment ({', '.join(names)})")
        return changed

    def _return_to_folder(self) -> None:
        try:
            os.chdir(self._folder)
        except OSError:  # it is no longer there: nobody can be in it
            self._folder = _folder()

    def _restore_environment(self) -> list[str]:
        """The names of what was undone. Variables that are new after an import stay: libraries find their own files by
        what they set when they are imported, be it by the first call."""
        now, saved = os.environb, self._environment
        new = set(now) - set(saved)
        if new and self._saw_imports():
            saved.update((name, now[name]) for name in new)
            new = set()
        changed = {name for name, value in saved.items() if now.get(name) != value}
        now.update((name, saved[name]) for name in changed)
        for name in new:
            del now[name]
        return sorted(map(os.fsdecode, changed | new))

    def _saw_imports(self) -> bool:
        imported = set(sys.modules) - self._modules
        self._modules |= imported
        return any(name.partition(".")[0] not in _NO_FINDERS for name in imported)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _environment() -> dict[bytes, bytes]:
    """What stands behind ``os.environ``, where comparing costs a microsecond."""
    inside: Any = os.environb
    environment: dict[bytes, bytes] = inside._data
    return environment


def _umask() -> int:
    """One has to set it to learn it, which threads of user code might notice; Linux also tells it, more slowly."""
    if sys.platform == "linux" and threading.active_count() > _OWN_THREADS:
        with open(_STATUS, "rb", buffering=0) as status:
            if told := status.read(256).partition(b"Umask:")[2].split(maxsplit=1):
                return int(told[0], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
