"""Payloads of nothing but floats, or nothing but ints of 64 bit, written without Arrow.

The most frequent payload by far. A child that returns nothing else need not import Arrow and NumPy at all, which would
take it twice as long and three times as much memory as everything else it loads. Two formats:

- Floats of calls that were not timed one by one are MessagePack: an array of float 64. No other way to look at the type
  of each of a million floats and to pack them is as fast: 7 ns each, where :func:`operator.countOf` and :mod:`struct`
  take 19. Format: https://github.com/msgpack/msgpack/blob/master/spec.md
- All others are the bytes that Arrow itself writes (a test compares them): the schema's message is one of four
  constants, the record batch's message has a few lengths to fill in.
  Format: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import pack
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import numpy as np

FLOATS_MARK = 0xDD
"""The first byte of a MessagePack array; Arrow's streams begin with ``0xff``."""
FLOATS_HEAD = struct.Struct(">BI")
FLOAT_BYTES = 9
"""What a float takes there: ``0xcb``, and its eight bytes, the highest first."""

_PACKED = "P"
_CODES: dict[Any, str] = {float: _PACKED, int: "q"}
_ARRAY_CODES = {"<f8": "d", "<i8": "q"}
_ITEM_BYTES = 8
_encode = msgspec.msgpack.Encoder().encode


class Unencodable(Exception):
    """Some values cannot become part of a column; the others could. ``failures``: (position, reason), ascending."""

    def __init__(self, failures: Sequence[tuple[int, str]]) -> None:
        super().__init__(failures[0][1])
        self.failures = tuple(failures)


@dataclass
class Numbers:
    """A growing column of floats, or of ints of 64 bit, never of both; in a list they take four times the room.

    Its blocks are packed as type code ``d`` or ``q`` of :mod:`struct`, or as MessagePack's floats.
    """

    count: int = 0
    _code: str = ""
    _blocks: list[bytes | memoryview] = field(default_factory=list)

    def take(self, values: Sequence[Any]) -> bool:
        """Put all ``values`` at the end; ``False`` (and nothing is changed) if they do not belong here."""
        kind = type(values[0]) if values else None
        code = _CODES.get(kind, "")
        if not code or (self.count and code != self._code):
            return False
        block = _ints(values) if kind is int else _floats(values)
        if block is None:
            return False
        self._blocks.append(block)
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
        item = ">xd" if self._code == _PACKED else f"<{self._code}"
        values = [number for block in self._blocks for (number,) in struct.iter_unpack(item, block)]
        self.count, self._blocks = 0, []
        return values

    def payload(self, call_seconds: Sequence[float] | None = None) -> bytes:
        """What :func:`ttg.results.encode.decode_payload` reads."""
        if self._code == _PACKED and call_seconds is None:
            return b"".join((FLOATS_HEAD.pack(FLOATS_MARK, self.count), *self._blocks))
        if self._code == _PACKED:
            floats = self.give_back()
            self.count, self._code, self._blocks = len(floats), "d", [pack(f"<{len(floats)}d", *floats)]
        sizes = [self.count * _ITEM_BYTES]
        body = list(self._blocks)
        if call_seconds is not None:
            seconds = pack(f"<{self.count}f", *call_seconds)
            sizes.append(len(seconds))
            body += [seconds, bytes(-len(seconds) % 8)]
        schema = _SCHEMAS[self._code, call_seconds is not None]
        return b"".join((schema, _batch_message(self.count, sizes), *body, _END_OF_STREAM))


def _ints(values: Sequence[Any]) -> bytes | None:
    """Packed, if each is an int of 64 bit, and no subclass of it."""
    if operator.countOf(map(type, values), int) != len(values):
        return None
    try:
        return pack(f"<{len(values)}q", *values)
    except struct.error:  # an int of more than 64 bit
        return None


def _floats(values: Sequence[Any]) -> memoryview | None:
    """Packed, if each is a float, and no subclass of it."""
    try:
        msgspec.convert(values, list[float])  # looks at exact types, but takes ints as well
    except msgspec.ValidationError:
        return None
    block = _encode(values)
    count = len(values)
    head = 1 if count < 1 << 4 else 3 if count < 1 << 16 else 5
    # Each item begins where the one before ends, if that is a float.
    if len(block) != head + FLOAT_BYTES * count or block[head::FLOAT_BYTES] != b"\xcb" * count:
        return None
    return memoryview(block)[head:]


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
