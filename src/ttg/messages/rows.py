"""Parameters that travel with their task: columns as JSON, in the order of its indices.

::

    {"x": [1.5, 2.5], "day": [{"$date": "2024-01-02"}, null]}

They are encoded once, where they are cut, and decoded where they are needed: for all others they are bytes. Values are
as :mod:`ttg.messages.parameters` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ttg.errors import MessageError
from ttg.messages.ranges import Ranges, count_indices, indices_of

NO_ROWS = msgspec.Raw()

Columns = Mapping[str, Sequence[Any]]

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, list[Any]])


def packed(columns: Columns) -> msgspec.Raw:
    """Columns of JSON data, as a message carries them."""
    return msgspec.Raw(_encoder.encode(columns))


def size_of(rows: msgspec.Raw) -> int:
    """In bytes."""
    return memoryview(rows).nbytes


def unpacked(rows: msgspec.Raw, ranges: Ranges) -> dict[str, list[Any]]:
    """The columns of the indices ``ranges``, as JSON data. ``MessageError`` if they are not such."""
    count = count_indices(ranges)
    try:
        columns = _decoder.decode(rows)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"expected columns of parameters: {error}") from error
    for name, column in columns.items():
        if len(column) != count:
            raise MessageError(f"expected {count} rows for {count} indices, got {len(column)} of {name!r}")
    return columns


def part_of(rows: msgspec.Raw, ranges: Ranges, wanted: Ranges) -> msgspec.Raw:
    """Those of ``wanted``, which lie inside ``ranges``."""
    if not rows or wanted == ranges:
        return rows
    chosen = set(indices_of(wanted))
    places = [place for place, index in enumerate(indices_of(ranges)) if index in chosen]
    columns = unpacked(rows, ranges).items()
    return packed({name: [column[place] for place in places] for name, column in columns})
