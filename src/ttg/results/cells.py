"""One value as text, from which it can be read back: what a column of mixed values holds.

A text stays as it is; everything else is JSON, and what JSON lacks is an object with one key that names its type:
``{"$date": "2024-05-17"}``. Only a text that could be taken for JSON (or is not Unicode) is written as a JSON string.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from ttg.messages.parameters import clocked, clocked_reader

_JSON_BEGINS = frozenset('{["-0123456789tfnNI')
_MICROSECONDS = 6  # digits of a fraction that Python's own times have
_DIGITS = {"ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}
_UNITS = {digits: unit for unit, digits in _DIGITS.items()}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "D": 86400, "W": 7 * 86400}


def cell_of(value: Any) -> str | None:
    """The text of a value (``None`` stays null). ``TypeError`` or ``ValueError`` for what is no value of a table."""
    if value is None:
        return None
    if isinstance(value, str) and not _could_be_json(value) and _is_unicode(value):
        return value
    text = _encode(value if type(value) in _AS_THEY_ARE else _jsonable(value))
    return text if _is_unicode(text) else json.dumps(_jsonable(value))


def value_of(text: str | None) -> Any:
    """The value that :func:`cell_of` wrote."""
    if text is None:
        return None
    try:
        return _restored(json.loads(text)) if _begins_like_json(text) else text
    except (ValueError, LookupError, RecursionError):
        return text


_encode = json.JSONEncoder(ensure_ascii=False).encode
_AS_THEY_ARE = {str, int, float, bool}


def _begins_like_json(text: str) -> bool:
    return text.lstrip(" \t\n\r")[:1] in _JSON_BEGINS


def _could_be_json(text: str) -> bool:
    try:
        if _begins_like_json(text):
            json.loads(text)
            return True
    except ValueError:
        return False
    except RecursionError:
        return True
    return False


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---------------------------------------------------------------------------------------------- what JSON lacks


def _jsonable(value: Any) -> Any:
    if value is np.ma.masked or (isinstance(value, np.datetime64 | np.timedelta64) and np.isnat(value)):
        return None
    if isinstance(value, np.ndarray | list | tuple):
        items = value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind not in "mM" else value
        return [_jsonable(item) for item in items]
    if isinstance(value, dict):
        return {f"${name}" if name.startswith("$") else name: _jsonable(item) for name, item in value.items()}
    for kinds, tag, write in _TAGS:
        if isinstance(value, kinds):
            return {tag: write(value)}
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        tag, inner = next(iter(value.items()))
        if tag in _READERS:
            return _READERS[tag](inner)
    return {name[1:] if name.startswith("$$") else name: _restored(item) for name, item in value.items()}


def seconds_of(value: datetime.timedelta | np.timedelta64) -> str:
    """Exact seconds, with as many digits as the unit has; Python's own have six."""
    if isinstance(value, np.timedelta64):
        unit, step = np.datetime_data(value.dtype)
        count, digits = int(value.astype(np.int64)) * step * _SECONDS.get(unit, 1), _DIGITS.get(unit, 0)
        return f"{decimal.Decimal(count).scaleb(-digits):.{digits}f}"
    return f"{decimal.Decimal(value // datetime.timedelta(microseconds=1)).scaleb(-6):.6f}"


def _duration(text: str) -> Any:
    seconds, digits = decimal.Decimal(text), _fraction_digits(text)
    if digits != _MICROSECONDS:
        count, unit = int(seconds.scaleb(digits)), _UNITS.get(digits, "s")
        if not -(1 << 63) < count < 1 << 63:  # a whole number of weeks, or of what else it was before
            unit = next(unit for unit in _SECONDS if -(1 << 63) < count // _SECONDS[unit] < 1 << 63)
            count //= _SECONDS[unit]
        return np.array(count).astype(f"m8[{unit}]")[()]
    return datetime.timedelta(microseconds=int(seconds.scaleb(digits)))


def _moment(text: str) -> Any:
    if _fraction_digits(text) <= _MICROSECONDS and text[:1] not in "+-" and text[4:5] == "-":
        return datetime.datetime.fromisoformat(text)
    if "+" in text[1:]:
        import pandas  # nothing else has nanoseconds and a time zone

        return pandas.Timestamp(text)
    return np.datetime64(text)


def _fraction_digits(text: str) -> int:
    fraction = text.partition(".")[2]
    return next((place for place, sign in enumerate(fraction) if not sign.isdecimal()), len(fraction))


_TAGS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (  # a datetime is a date, so it is asked first
    ((datetime.datetime,), "$datetime", lambda value: value.isoformat()),
    ((np.datetime64,), "$datetime", str),
    ((datetime.date,), "$date", lambda value: value.isoformat()),
    ((datetime.time,), "$time", clocked),
    ((datetime.timedelta, np.timedelta64), "$timedelta", seconds_of),
    ((decimal.Decimal,), "$decimal", str),
    ((complex,), "$complex", lambda value: [value.real, value.imag]),
    ((bytes,), "$bytes", lambda value: base64.b64encode(value).decode("ascii")),
)
_READERS: dict[str, Callable[[Any], Any]] = {
    "$datetime": _moment,
    "$date": datetime.date.fromisoformat,
    "$time": clocked_reader(datetime.time),
    "$timedelta": _duration,
    "$decimal": decimal.Decimal,
    "$complex": lambda parts: complex(*parts),
    "$bytes": base64.b64decode,
}
