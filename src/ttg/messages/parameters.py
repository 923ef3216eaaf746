"""Parameters as messages carry them: JSON, and where JSON has no type, an object with one key that is a tag.

::

    {"$date": "2024-01-02"}   {"$tuple": [1, 2]}   {"$float": "nan"}   {"$enum": ["colours:Colour", "RED"]}

A dict of a parameter that could be taken for such an object, or that has keys that JSON cannot hold, travels as
``{"$dict": [[key, value], …]}``. What is written here is data: reading it back imports nothing and calls nothing that a
message names. What a parameter may be is said by :mod:`ttg.space.values`; this module writes all of that.
"""

from __future__ import annotations

import datetime
import enum
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ttg.errors import MessageError

JSON_TYPES = frozenset((str, int, float, bool, type(None)))


class EnumMember(msgspec.Struct, frozen=True):
    """A member of an enumeration that this process has not loaded: ``enum`` is ``module:Qualname``. ``value`` is known
    where the members are integers or text."""

    enum: str
    name: str
    value: int | str | None = None

    def itself(self) -> EnumMember:
        """What stands for the member where it is not loaded."""
        return self

    def __repr__(self) -> str:
        return f"<{self.enum.rpartition(':')[2]}.{self.name}>"


MemberOf = Callable[[EnumMember], Any]
"""From what a message says of a member to the member itself, or to what stands for it."""


def member_of(value: enum.Enum) -> EnumMember:
    """What a message says of a member."""
    kind = type(value)
    own = value.value if isinstance(value, int | str) else None
    return EnumMember(f"{kind.__module__}:{kind.__qualname__}", value.name, own)


# ---------------------------------------------------------------------------------------------- writing


def encoded(value: Any) -> Any:
    """JSON data of a parameter; ``TypeError`` for what no parameter may be."""
    kind = type(value)
    if kind in (int, bool, type(None)):
        return value
    if kind is str:
        return value if is_unicode(value) else {"$text": _escaped(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if kind is list:
        return encoded_values(value)
    if kind is dict:
        return _encoded_dict(value)
    tag, write = _writer(value)
    return {tag: write(value)}


def encoded_values(values: Sequence[Any]) -> list[Any]:
    """``encoded`` for each; what JSON knows anyway is looked at without a loop in Python."""
    kinds = set(map(type, values))
    if kinds <= JSON_TYPES:
        numbers = (
            values if kinds == {float} else [item for item in values if type(item) is float] if float in kinds else ()
        )
        texts = values if kinds == {str} else [item for item in values if type(item) is str] if str in kinds else ()
        if all(map(math.isfinite, numbers)) and is_unicode("".join(texts)):
            return list(values)
    return [encoded(item) for item in values]


def is_unicode(text: str) -> bool:
    """Not with half of a surrogate pair, by which Python writes bytes of file names that are not UTF-8."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def _encoded_dict(value: dict[str, Any]) -> dict[str, Any]:
    taken = len(value) == 1 and next(iter(value)) in _READERS
    if taken or not is_unicode("".join(value)):
        return {"$dict": [[encoded(key), encoded(item)] for key, item in value.items()]}
    return {key: encoded(item) for key, item in value.items()}


def _writer(value: Any) -> tuple[str, Callable[[Any], Any]]:
    kind = type(value)
    found = _WRITERS.get(kind) or _NAMED_WRITERS.get(f"{kind.__module__}.{kind.__qualname__}")
    if found is not None:
        return found
    if isinstance(value, enum.Enum):
        return "$enum", lambda value: _member_data(member_of(value))
    raise TypeError(f"{value!r:.80} ({kind.__name__}) cannot travel as a parameter")


def _member_data(member: EnumMember) -> list[Any]:
    return [member.enum, member.name, *([] if member.value is None else [member.value])]


def clocked(value: datetime.datetime | datetime.time) -> Any:
    """ISO text; with the name of its time zone and ``fold`` where the text does not say it all."""
    zone = getattr(value.tzinfo, "key", None)
    if zone is None and not value.fold:
        return value.isoformat()
    plain = value.replace(tzinfo=None) if zone is not None else value
    return [plain.isoformat(), zone, value.fold]


def _array_data(value: Any) -> dict[str, Any]:
    import base64

    data = base64.b64encode(value.tobytes()).decode("ascii")
    return {"dtype": value.dtype.str, "shape": list(value.shape), "data": data}


def _base64(value: bytes) -> str:
    import base64

    return base64.b64encode(value).decode("ascii")


_WRITERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    tuple: ("$tuple", encoded_values),
    bytes: ("$bytes", _base64),
    complex: ("$complex", lambda value: [encoded(value.real), encoded(value.imag)]),
    datetime.date: ("$date", lambda value: value.isoformat()),
    datetime.datetime: ("$datetime", clocked),
    datetime.time: ("$time", clocked),
    datetime.timedelta: ("$timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    type(Path()): ("$path", lambda value: encoded(str(value))),
    EnumMember: ("$enum", _member_data),
}
# By name: whoever has no such value need not import their modules.
_NAMED_WRITERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "decimal.Decimal": ("$decimal", str),
    "numpy.ndarray": ("$ndarray", _array_data),
    "numpy.datetime64": ("$numpy", lambda value: [str(value), value.dtype.str]),
    "numpy.timedelta64": ("$numpy", lambda value: [int(value.astype("i8")), value.dtype.str]),
}


# ---------------------------------------------------------------------------------------------- reading


def decoded(data: Any, member: MemberOf = EnumMember.itself) -> Any:
    """The parameter that :func:`encoded` wrote. ``member`` finds members of enumerations.

    ``MessageError`` for data that it cannot have written; what ``member`` raises.
    """
    if type(data) is list:
        return [decoded(item, member) for item in data]
    if type(data) is not dict:
        return data
    if len(data) == 1:
        ((tag, inner),) = data.items()
        if tag in _READERS:
            return _read(tag, inner, member)
    return {key: decoded(item, member) for key, item in data.items()}


def decoded_values(values: Iterable[Any], member: MemberOf = EnumMember.itself) -> list[Any]:
    """``decoded`` for each."""
    items = list(values)
    return items if set(map(type, items)) <= JSON_TYPES else [decoded(item, member) for item in items]


def _read(tag: str, data: Any, member: MemberOf) -> Any:
    try:
        if tag == "$enum":
            return member(EnumMember(*data))
        if tag == "$tuple":
            return tuple(decoded(item, member) for item in data)
        if tag == "$dict":
            return {decoded(key): decoded(item, member) for key, item in data}
        return _READERS[tag](data)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, ImportError) as error:
        raise MessageError(f"expected a parameter, got {{{tag!r}: {data!r:.80}}}: {error}") from error


def clocked_reader(kind: type[datetime.datetime] | type[datetime.time]) -> Callable[[Any], Any]:
    """The inverse of :func:`clocked`."""

    def read(data: Any) -> Any:
        if isinstance(data, str):
            return kind.fromisoformat(data)
        text, zone, fold = data
        value = kind.fromisoformat(text).replace(fold=fold)
        if zone is None:
            return value
        from zoneinfo import ZoneInfo

        return value.replace(tzinfo=ZoneInfo(zone))

    return read


def _decimal(data: str) -> Any:
    from decimal import Decimal

    return Decimal(data)


def _numpy_scalar(data: Any) -> Any:
    import numpy as np

    value, dtype = data
    return np.array(value, np.dtype(dtype))[()]


def _array(data: Any) -> Any:
    import base64

    import numpy as np

    dtype = np.dtype(data["dtype"])
    if dtype.hasobject:
        raise ValueError("arrays of objects do not travel")
    # A bytearray, so that the function may write into it.
    return np.frombuffer(bytearray(base64.b64decode(data["data"])), dtype).reshape(data["shape"])


def _bytes(data: str) -> bytes:
    import base64

    return base64.b64decode(data, validate=True)


_READERS: dict[str, Callable[[Any], Any]] = {
    "$text": lambda data: data.encode("ascii").decode("unicode_escape"),
    "$float": float,
    "$bytes": _bytes,
    "$complex": lambda data: complex(*map(decoded, data)),
    "$date": datetime.date.fromisoformat,
    "$datetime": clocked_reader(datetime.datetime),
    "$time": clocked_reader(datetime.time),
    "$timedelta": lambda data: datetime.timedelta(*data),
    "$path": lambda data: Path(decoded(data)),
    "$decimal": _decimal,
    "$numpy": _numpy_scalar,
    "$ndarray": _array,
    "$enum": lambda data: EnumMember(*data),
    "$tuple": tuple,
    "$dict": dict,
}


def enums_in(data: Any) -> set[str]:
    """Of which enumerations there are members in ``data``, or in a list or dict of such data."""
    if isinstance(data, dict):
        own = {data["$enum"][0]} if isinstance(data.get("$enum"), list) and len(data) == 1 else set()
        return own.union(*map(enums_in, data.values()))
    if not isinstance(data, list | tuple) or set(map(type, data)) <= JSON_TYPES:
        return set()
    return set().union(*map(enums_in, data))


# ---------------------------------------------------------------------------------------------- in use


def fresh(value: Any) -> Any:
    """``value``, with new lists, dicts and arrays in it: a call may change its own."""
    if isinstance(value, list | tuple):
        return type(value)(map(fresh, value))
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    return value.copy() if _is_array(value) else value


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def storable(values: Any) -> Any:
    """A column of parameters as a table takes it: paths as text, members of enumerations as their names, or as their
    values where these are integers or text."""
    if getattr(getattr(values, "dtype", None), "kind", "O") != "O" or set(map(type, values)) <= JSON_TYPES:
        return values
    return [_storable(value) for value in values]


def _storable(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, enum.Enum):
        value = member_of(value)
    if isinstance(value, EnumMember):
        return value.name if value.value is None else value.value
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return {key: _storable(item) for key, item in value.items()} if isinstance(value, dict) else value
