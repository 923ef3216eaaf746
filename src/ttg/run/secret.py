"""What signs a function that has no file, where ``TTG_SECRET`` says nothing: a secret that this user has for good.

It lies beside the register of runs, not in a run's folder: so a run can be resumed by another process, and a folder
that came from somebody else brings no signature that counts here.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ttg.errors import SettingsError
from ttg.settings import Settings


def with_secret(settings: Settings) -> Settings:
    """``settings``, with this user's own secret unless they have one. A home that cannot be written is no reason to
    fail: then only this process can resume the run."""
    if settings.secret:
        return settings
    file = settings.home / "secret"
    with suppress(OSError):
        if not file.exists():
            _make(file)
        return replace(settings, secret=_read(file))
    return replace(settings, secret=_UNKEPT)


_UNKEPT = secrets.token_hex(32)


def _make(file: Path) -> None:
    """Complete before it has its name, and never twice."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".secret.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as opened:
        opened.write(secrets.token_hex(32))
    try:
        with suppress(FileExistsError):
            os.link(temporary, file)
    finally:
        temporary.unlink()


def _read(file: Path) -> str:
    status = file.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise SettingsError(f"{file}: expected a file that only you can read: remove it, or chmod 600 {file}")
    return file.read_text(encoding="ascii").strip()
