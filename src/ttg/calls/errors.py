"""What becomes of a call: its value, the exception that it raised, or the end of the process that executed it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from ttg.errors import CallOutOfMemory, CallTimeout, ProcessDied
from ttg.function.sealed import unsealed
from ttg.messages import DeadLetter, Failure
from ttg.worker.calls import RETURNED


class RemoteTraceback(Exception):
    """The cause of an exception that a call raised elsewhere: its traceback there, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


Resolution = Callable[[], Any]
"""Gives what a call returned, or raises what it raised. Called where nothing waits: unpickling is the user's code."""

_KINDS = {"timeout": CallTimeout, "memory": CallOutOfMemory}


def resolution_of_payload(key: bytes, item: bytes) -> Resolution:
    """From what a worker has sealed."""

    def resolve() -> Any:
        text = unsealed(key, item)
        value = pickle.loads(text[1:])  # noqa: S301 - it was sealed by whoever knows the secret
        if text[:1] == RETURNED:
            return value
        error, said = value
        error.__cause__ = RemoteTraceback(said)
        raise error

    return resolve


def resolution_of_letter(letter: DeadLetter) -> Resolution:
    """From what a worker wrote of a call that has no result."""

    def resolve() -> Any:
        raise _error_of(letter.failure)

    return resolve


def _error_of(failure: Failure) -> Exception:
    text = failure.message if failure.kind != "exception" else f"{failure.error}: {failure.message}"
    words = f"; its last words:\n{failure.output.rstrip()}" if failure.output.strip() else ""
    kind = _KINDS.get(failure.kind, ProcessDied)
    error = kind(f"{text}{words}", failure.kind, failure.exit_code, failure.output)
    if failure.traceback:
        error.__cause__ = RemoteTraceback(failure.traceback)
    return error
