"""Commands are bounded in arguments and bytes, however much there is to say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

SCRIPT_BYTES = 8 << 20
"""Messages are sent in scripts of about this size, so that no script holds the server up."""

MOST_ARGUMENTS = 3_000
"""Serverless offers take up to 3,999 arguments in a command; one settlement alone may have some hundred."""


def batches(items: Iterable[list[Any]]) -> Iterator[list[Any]]:
    """The words of several messages, joined to batches of about ``SCRIPT_BYTES`` and up to ``MOST_ARGUMENTS``."""
    batch: list[Any] = []
    size = 0
    for words in items:
        if batch and len(batch) + len(words) > MOST_ARGUMENTS:
            yield batch
            batch, size = [], 0
        batch += words
        size += sum(len(word) for word in words if isinstance(word, bytes)) + 100
        if size >= SCRIPT_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
