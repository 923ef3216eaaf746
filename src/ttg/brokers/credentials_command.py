"""The command that prints who we are to the broker: run without a shell, for ten seconds at most.

It prints one line, the password, or JSON: ``{"username": …, "password": …, "expires_in": seconds}``, of which only the
password is required.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
from contextlib import suppress
from math import inf
from typing import Annotated

import msgspec

ANSWER_SECONDS = 10.0
QUOTED_CHARACTERS = 500
EXPECTED = 'expected one line, the password, or JSON {"username": …, "password": …, "expires_in": seconds}'


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a command may print as JSON."""

    password: Annotated[str, msgspec.Meta(min_length=1)]
    username: str = ""
    expires_in: Annotated[float, msgspec.Meta(ge=1)] = inf

    def __repr__(self) -> str:
        return "<an answer of the credentials command>"


def read_answer(output: bytes) -> Answer:
    """What a command printed. ``ValueError``, without any of it, when that is not what is expected."""
    if output.lstrip().startswith(b"{"):
        try:
            return msgspec.json.decode(output, type=Answer)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{EXPECTED}, got other JSON: {error}") from None
    lines = output.decode(errors="surrogateescape").split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    if len(lines) != 1 or not lines[0].rstrip("\r"):
        raise ValueError(f"{EXPECTED}, got {len(lines) if output.strip() else 'no'} lines")
    return Answer(lines[0].rstrip("\r"))


class CredentialsCommand:
    """One question. ``processes`` has its process id while it runs."""

    def __init__(self, command: str, processes: set[int]) -> None:
        self._words = shlex.split(command)
        self._processes = processes

    def __str__(self) -> str:
        """The program, without its arguments: there may be secrets among them."""
        return f"the credentials command {self._words[0]} (TTG_CREDENTIALS_COMMAND)"

    async def answer(self) -> Answer:
        """What it prints. ``ValueError`` when it fails, hangs or prints something else, ``OSError`` when it cannot be
        started."""
        command = self._start()
        try:
            output, said = await asyncio.to_thread(command.communicate, timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired as error:
            for pipe in (command.stdout, command.stderr):
                pipe.close()  # type: ignore[union-attr]
            raise ValueError(f"did not end within {ANSWER_SECONDS:.0f} s{_quoted(error.stderr)}") from None
        finally:
            _end(command)
            self._processes.discard(command.pid)
        if command.returncode:
            raise ValueError(f"ended with exit code {command.returncode}{_quoted(said)}")
        return read_answer(output)

    def _start(self) -> subprocess.Popen[bytes]:
        """Its id is known before anything else happens here: a worker reaps children that nobody waits for."""
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        command = subprocess.Popen(self._words, stdin=nothing, stdout=pipe, stderr=pipe, start_new_session=True)
        self._processes.add(command.pid)
        return command


def _end(command: subprocess.Popen[bytes]) -> None:
    """With what it has started, if it still runs."""
    if command.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(command.pid, signal.SIGKILL)
        command.wait()


def _quoted(said: bytes | None) -> str:
    text = (said or b"").decode(errors="replace").strip()[-QUOTED_CHARACTERS:]
    return f": {text}" if text else ""
