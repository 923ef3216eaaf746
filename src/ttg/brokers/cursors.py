"""Cursors of logs that can be replaced: where an entry was, and what it was.

A log that was deleted and made again, or that a failover took back by some seconds, uses its offsets once more, and an
offset alone would pass over what is new there. So a cursor carries a checksum of the entry as well.
"""

from __future__ import annotations

from zlib import crc32


def cursor_of(offset: int, body: bytes) -> str:
    """The cursor behind the entry ``body`` at ``offset``."""
    return f"{offset}-{crc32(body):x}"


def offset_of(cursor: str) -> int:
    """The offset in a cursor."""
    return int(cursor.partition("-")[0])


def is_of_another_log(cursor: str, found: str) -> bool:
    """Whether ``cursor`` is of another log than the one in which it was looked for, which is to be read from its start.

    ``found`` is the cursor of the first entry at or behind the offset; where there is none, of the newest one that the
    log ever had (``""``: it had none). An entry that has left a log at its old end proves nothing.
    """
    offset, there = offset_of(cursor), offset_of(found) if found else -1
    return there < offset or (there == offset and found != cursor)
