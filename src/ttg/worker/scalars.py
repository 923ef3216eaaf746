"""What a task's calls have returned so far, one value each, until the report takes it as a payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from operator import is_not
from sys import getrefcount
from typing import Any

from ttg.results.plain import FLOAT_BYTES, Numbers


class ScalarResults:
    """``items`` are for the caller to append to; after each block of calls, plain numbers among them are packed.

    ``packs`` says whether they may be: not where parameters travel with the rows.
    """

    def __init__(self, *, packs: bool = True) -> None:
        self.items: list[Any] = []
        self.row_bytes = 8.0
        self._numbers = Numbers()
        self._packs = packs

    @property
    def count(self) -> int:
        return self._numbers.count + len(self.items)

    def end_block(self, start: int) -> None:
        """The items from number ``start`` on are new. The first block of another kind unpacks all numbers."""
        if len(self.items) == start:
            return
        self.row_bytes = (rough_bytes(self.items[start]) + rough_bytes(self.items[-1])) / 2
        if self._packs and self._numbers.take(self.items):
            self.items = []
        else:
            self._unpack()

    def may_change(self, count: int) -> bool:
        """Whether the function's next call could change the last ``count`` items, as far as their ends tell what they
        are. Nobody changes dicts and lists of plain values to which nobody else refers."""
        if not 0 < count <= len(self.items):
            return False
        if _is_flat(self.items[-count]) and _is_flat(self.items[-1]):
            return _references(self.items, count) != _ALONE
        ends = (self.items[-count], self.items[-1])
        return any(type(value) not in _FIXED and detached(value) is not value for value in ends)

    def _unpack(self) -> None:
        self._packs = False
        if self._numbers.count:
            self.items = [*self._numbers.give_back(), *self.items]

    def payload(self, seconds: Sequence[float] | None, parameters: Mapping[str, Sequence[Any]]) -> bytes:
        if self._numbers.count:
            return self._numbers.payload(seconds)
        from ttg.results.encode import encode_rows  # imports Arrow, which many runs never need

        return encode_rows(self.items, seconds, parameters)

    def drop(self, position: int) -> None:
        self._unpack()
        del self.items[position]

    def keep(self, rows: int) -> None:
        self._unpack()
        del self.items[rows:]


_FIXED = {float, int, str, bool, bytes, type(None), complex}
_BUFFERS = ("ndarray", "MaskedArray", "recarray", "bytearray")


def _is_flat(value: Any) -> bool:
    items = value.values() if type(value) is dict else value if type(value) is list else (None, [])
    return all(type(item) in _FIXED for item in items)


def _references(values: list[Any], count: int) -> set[int]:
    """How many there are to each of the last ``count`` values. Most functions make a new one for each call."""
    return set(map(getrefcount, values[-count:]))


_ALONE = _references([{}], 1)


def detached(value: Any) -> Any:
    """``value``, or a copy of it if it can change: a function may return the same list or array from each call."""
    if type(value) in _FIXED:
        return value
    try:
        return _copied(value)
    except Exception:  # of a value that contains itself, or has a will of its own: its encoding is refused
        return value


def _copied(value: Any) -> Any:
    if type(value) in _FIXED:
        return value
    if isinstance(value, list):
        return value.copy() if value and type(value[0]) in _FIXED else list(map(_copied, value))
    if type(value) is dict:
        return {name: item if type(item) in _FIXED else _copied(item) for name, item in value.items()}
    if type(value) is tuple:
        items = tuple(map(_copied, value))
        return items if any(map(is_not, items, value)) else value
    if type(value).__name__ in _BUFFERS:
        return value.copy()
    return copy(value) if hasattr(value, "__dataclass_fields__") else value


def rough_bytes(value: Any) -> int:
    """Roughly what ``value`` takes in a payload; looks at no more than the ends of a sequence."""
    try:
        return _bytes_of(value)
    except Exception:  # as above
        return 8


def _bytes_of(value: Any) -> int:
    if type(value) is float:
        return FLOAT_BYTES
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_bytes_of, value.values()))
    if isinstance(value, (list, tuple)):
        return len(value) * max(map(_bytes_of, value[:2]), default=0)
    return int(getattr(value, "nbytes", 8))
