"""Families: which values share a column, and which are no value of a table."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np


class Unstorable(TypeError):
    """A value that cannot become part of a column."""


def family_of(value: Any) -> str:
    """What values must share to share a column, as :func:`ttg.results.kinds.family` of their types;
    :class:`Unstorable` for a value that no table has."""
    kind: Any = type(value)
    name = family_of_kind(kind)
    return "utc" if name == "datetime" and is_aware(value) else name


@lru_cache(maxsize=1024)
def family_of_kind(kind: Any) -> str:
    """The same, as far as the type tells: not whether a datetime has a time zone."""
    if kind.__name__ in ("NAType", "NaTType", "MaskedConstant"):  # of pandas, and of numpy.ma, which imports slowly
        return "null"
    if kind is np.void:
        return "record"
    if kind is np.matrix:  # whose rows are matrices
        raise Unstorable("expected an array, got a numpy.matrix: return np.asarray(…) of it")
    for name, members in _FAMILIES:
        if issubclass(kind, members):
            return "record" if name == "list" and hasattr(kind, "_fields") else name
    if fields_reader(kind):
        return "record"
    raise Unstorable(_REMEDIES.get(kind.__name__, "") or _refusal(kind))


def _refusal(kind: type) -> str:
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"expected numbers, text, bytes, dates, lists, dicts, records or arrays, got {name}"


_REMEDIES = {
    "DataFrame": "a DataFrame is no value of one row: return table.to_dict('list') for one list per column, or its "
    "columns from a function with @ttg.vectorized",
    "Series": "a Series is no value of one row: return series.to_numpy() for an array, series.to_dict() for fields",
    "generator": "a generator is no value: return list(…) of it",
}

# In the order of asking: bool is an int, so is timedelta64 to NumPy, datetime is a date, and a named tuple is a tuple.
_FAMILIES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("null", (type(None),)),
    ("bool", (bool, np.bool_)),
    ("timedelta", (datetime.timedelta, np.timedelta64)),
    ("text", (str, uuid.UUID, os.PathLike)),
    ("number", (int, float, np.integer, np.floating)),
    ("text", (enum.Enum,)),
    ("complex", (complex, np.complexfloating)),
    ("bytes", (bytes, bytearray, memoryview)),
    ("list", (list, tuple, np.ndarray)),
    ("decimal", (decimal.Decimal,)),
    ("datetime", (datetime.datetime, np.datetime64)),
    ("date", (datetime.date,)),
    ("time", (datetime.time,)),
)


def is_null(value: Any) -> bool:
    """Whether it leaves its place in a column empty."""
    return value is None or family_of(value) == "null"


def is_aware(value: Any) -> bool:
    """Whether a datetime knows its time zone."""
    return getattr(value, "tzinfo", None) is not None


def fields_reader(kind: type) -> Callable[[Any], Mapping[Any, Any]] | None:
    """How the fields of a value of this type are read; ``None`` for values that are one field themselves."""
    if kind is dict:
        return _itself
    if issubclass(kind, Mapping):
        return dict
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return lambda value: {name: getattr(value, name) for name in names}
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = list(kind._fields)
        return lambda value: dict(zip(names, value, strict=True))
    return None


def _itself(value: Any) -> Any:
    return value


def check_names(names: Iterable[Any]) -> None:
    """:class:`Unstorable` unless all ``names`` of fields are texts."""
    for name in names:
        if not isinstance(name, str):
            raise Unstorable(
                f"expected names of fields to be strings, got {name!r:.100}: convert them, {{str(key): …}}"
            )
        try:
            name.encode()
        except UnicodeEncodeError:
            raise Unstorable(f"expected names of fields in Unicode, got {name!a:.100}") from None
