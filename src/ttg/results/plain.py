"""Payloads of nothing but floats, or nothing but ints of 64 bit, written without Arrow.

The most frequent payload by far. A child that returns nothing else need not import Arrow and NumPy at all, which would
take it twice as long and three times as much memory as everything else it loads. The bytes are those that Arrow
itself writes (a test compares them): the schema's message is one of four constants, the record batch's message has a
few lengths to fill in. Format: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import pack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_CODES: dict[Any, str] = {float: "d", int: "q"}
_ARRAY_CODES = {"<f8": "d", "<i8": "q"}
_ITEM_BYTES = 8


class Unencodable(Exception):
    """Some values cannot become part of a column; the others could. ``failures``: (position, reason), ascending."""

    def __init__(self, failures: Sequence[tuple[int, str]]) -> None:
        super().__init__(failures[0][1])
        self.failures = tuple(failures)


@dataclass
class Numbers:
    """A growing column of floats, or of ints of 64 bit, never of both; in a list they take four times the room."""

    count: int = 0
    _code: str = ""
    _blocks: list[bytes] = field(default_factory=list)

    def take(self, values: Sequence[Any]) -> bool:
        """Put all ``values`` at the end; ``False`` (and nothing is changed) if they do not belong here."""
        kind = type(values[0]) if values else None
        code = _CODES.get(kind, "")
        if not code or (self.count and code != self._code):
            return False
        if operator.countOf(map(type, values), kind) != len(values):
            return False
        try:
            self._blocks.append(pack(f"<{len(values)}{code}", *values))
        except struct.error:  # an int of more than 64 bit
            return False
        self._code = code
        self.count += len(values)
        return True

    def take_array(self, values: np.ndarray[Any, Any]) -> bool:
        """As :meth:`take`, from an array, which is copied."""
        code = _ARRAY_CODES.get(values.dtype.str, "")
        if values.ndim != 1 or not code or (self.count and code != self._code):
            return False
        self._blocks.append(values.tobytes())
        self._code = code
        self.count += len(values)
        return True

    def give_back(self) -> list[Any]:
        """All of them, as they came; the column is empty afterwards."""
        values = [number for block in self._blocks for (number,) in struct.iter_unpack(f"<{self._code}", block)]
        self.count, self._blocks = 0, []
        return values

    def payload(self, call_seconds: Sequence[float] | None = None) -> bytes:
        """What :func:`ttg.results.encode.encode_rows` makes of them."""
        sizes = [self.count * _ITEM_BYTES]
        body = list(self._blocks)
        if call_seconds is not None:
            seconds = pack(f"<{self.count}f", *call_seconds)
            sizes.append(len(seconds))
            body += [seconds, bytes(-len(seconds) % 8)]
        schema = _SCHEMAS[self._code, call_seconds is not None]
        return b"".join((schema, _batch_message(self.count, sizes), *body, _END_OF_STREAM))


def _batch_message(rows: int, sizes: Sequence[int]) -> bytes:
    """The flatbuffer of a record batch: what varies is how many columns there are, and their lengths."""
    buffers, position, columns = b"", 0, len(sizes)
    for size in sizes:
        buffers += pack("<4q", position, 0, position, size)  # no validity bitmap: there are no nulls
        position += size + -size % 8
    return b"".join(
        (
            pack("<Ii", 0xFFFFFFFF, 88 + 48 * columns),
            bytes.fromhex("14000000000000000c0016000600050008000c000c0000000003040018000000"),
            pack("<q", position),
            bytes.fromhex("00000a0018000c00040008000a000000"),
            pack("<iiqii", 28 + 32 * columns, 16, rows, 0, 2 * columns),
            buffers,
            pack("<ii", 0, columns),
            pack("<2q", rows, 0) * columns,
        )
    )


_END_OF_STREAM = bytes.fromhex("ffffffff00000000")

_SCHEMAS = {  # by type code, and whether seconds follow
    ("d", False): bytes.fromhex(
        "ffffffff780000001000000000000a000c000600050008000a000000000104000c0000000800080000000400080000000400"
        "00000100000014000000100014000800060007000c0000001000100000000000010310000000200000000400000000000000"
        "06000000726573756c74000000000600080006000600000000000200"
    ),
    ("d", True): bytes.fromhex(
        "ffffffffb00000001000000000000a000c000600050008000a000000000104000c0000000800080000000400080000000400"
        "0000020000004800000004000000d0ffffff00000103100000001c0000000400000000000000090000005f5f7365636f6e64"
        "73000000c2ffffff00000100100014000800060007000c000000100010000000000001031000000020000000040000000000"
        "000006000000726573756c7400000000060008000600060000000000020000000000"
    ),
    ("q", False): bytes.fromhex(
        "ffffffff800000001000000000000a000c000600050008000a000000000104000c0000000800080000000400080000000400"
        "00000100000014000000100014000800060007000c0000001000100000000000010210000000200000000400000000000000"
        "06000000726573756c74000008000c000800070008000000000000014000000000000000"
    ),
    ("q", True): bytes.fromhex(
        "ffffffffb80000001000000000000a000c000600050008000a000000000104000c0000000800080000000400080000000400"
        "0000020000004c00000004000000ccffffff0000010310000000200000000400000000000000090000005f5f7365636f6e64"
        "73000600080006000600000000000100100014000800060007000c0000001000100000000000010210000000200000000400"
        "00000000000006000000726573756c74000008000c000800070008000000000000014000000000000000"
    ),
}
