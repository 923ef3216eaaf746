"""What a parameter may be. What is given arrives at the function, with the same value and the same type, or is refused.

- text, integers of 64 bits, floats (NaN and infinities, too), complex numbers, booleans, bytes and ``None``;
- ``date``, ``datetime`` and ``time`` (naive, with a fixed offset or a ``ZoneInfo``), ``timedelta``, ``Decimal``,
  ``Path``, members of enumerations; ``numpy.datetime64`` and ``timedelta64``;
- lists, tuples, dicts with text as keys, and NumPy arrays of numbers, text, bytes or times, with all of these in them.

Other NumPy scalars become Python's, pandas' missing values ``None``, its times those of ``datetime``. A parameter that
is given integers and floats gets floats, so that its column has one type.
"""

from __future__ import annotations

import datetime
import enum
import keyword
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttg.errors import SpaceError
from ttg.messages.parameters import EnumMember, is_unicode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIZE = 2**63 - 1
MAX_BYTES = 8 << 20
DEEPEST = 32  # as in tables, which have a column for each parameter
INTEGERS = range(-(2**63), 2**63)
EXACT_FLOATS = range(-(2**53), 2**53 + 1)

_FREE_TYPES = frozenset(
    (type(None), bool, str, float, complex, bytes, datetime.date, datetime.timedelta, type(Path()), EnumMember)
)
"""Of these, every value is fine."""


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """``value`` as it arrives, its lists, dicts and arrays copied; ``where`` names its place in the error message
    ("axis 'x'"), ``depth`` says how many lists and dicts are around it."""
    kind = type(value)
    if kind in _FREE_TYPES:
        return checked_size(value, len(value), where) if kind in (str, bytes) and len(value) > MAX_BYTES else value
    if kind is int:
        return checked_integer(value, where)
    if kind in (list, tuple, dict) and depth == DEEPEST:
        raise SpaceError(f"{where}: expected at most {DEEPEST} levels of lists and dicts in each other")
    if kind is list or kind is tuple:
        return kind(plain(item, where, depth + 1) for item in value)
    if kind is dict:
        return {_key(key, where): plain(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return _checked_member(value, where)
    known = _BY_MODULE.get(kind.__module__.partition(".")[0])
    return _refused(value, where) if known is None else known(value, where)


def _refused(value: Any, where: str) -> Any:
    kind = type(value)
    bases = [base.__name__ for base in kind.__mro__[1:-1] if base in _FREE_TYPES or base in (int, list, tuple, dict)]
    advice = (
        f"it is a kind of {bases[0]}, and would arrive as one: pass {bases[0]}(…)"
        if bases
        else "pass a name or a number and look the object up in your function"
    )
    raise SpaceError(
        f"{where}: expected numbers, text, dates, paths, members of enumerations, arrays, or lists, tuples and "
        f"dicts of them; got {value!r:.80} ({kind.__name__}): {advice}"
    )


def _checked_member(value: enum.Enum, where: str) -> enum.Enum:
    kind = type(value)
    if kind.__members__.get(value.name) is not value:
        raise SpaceError(f"{where}: {value!r} is no single member of {kind.__name__}: pass its parts as a tuple")
    if "<locals>" in kind.__qualname__:
        raise SpaceError(f"{where}: {kind.__qualname__} is made inside a function: define it at the top of a module")
    return value


def _time(value: Any, where: str) -> Any:
    """A ``datetime`` or ``time``: its time zone must be one that can be named, and a table must be able to hold it."""
    if type(value) not in (datetime.datetime, datetime.time):
        return _refused(value, where)
    zone = value.tzinfo
    if zone is not None and type(value) is datetime.datetime and value.year in (datetime.MINYEAR, datetime.MAXYEAR):
        try:
            value.astimezone(datetime.UTC)
        except OverflowError:
            raise SpaceError(f"{where}: {value} is not in the years 1 to 9999 in UTC, which tables have") from None
    if zone is None or type(zone) is datetime.timezone or (type(value) is datetime.datetime and _has_key(zone)):
        return value
    raise SpaceError(f"{where}: {value!r}: expected no time zone, datetime.timezone or zoneinfo.ZoneInfo(name)")


def _has_key(zone: datetime.tzinfo) -> bool:
    return type(zone).__module__.startswith("zoneinfo") and bool(getattr(zone, "key", None))


def _decimal(value: Any, where: str) -> Any:
    return value if type(value).__qualname__ == "Decimal" else _refused(value, where)


def _from_numpy(value: Any, where: str) -> Any:
    import numpy as np

    dtype: Any = getattr(value, "dtype", np.dtype(bool))
    if dtype.kind == "m" and np.datetime_data(dtype)[0] in ("Y", "M", "generic"):
        raise SpaceError(f"{where}: {value!r:.80} has no certain length: give it in weeks or a shorter unit")
    if type(value) is np.ndarray:
        if value.dtype.kind not in "biufcSUmM" or value.dtype.char in "gG":
            raise SpaceError(f"{where}: an array of {value.dtype} cannot travel: pass it as a list, or its parts")
        return checked_size(value, value.nbytes, where).copy()
    if isinstance(value, np.ma.MaskedArray):
        raise SpaceError(f"{where}: a masked array would lose its mask: pass value.filled(…), or data and mask")
    if isinstance(value, np.datetime64 | np.timedelta64):
        return value
    if not isinstance(value, np.generic) or isinstance(value, np.void):
        return _refused(value, where)
    converted = value.item()
    if type(converted) is type(value):
        raise SpaceError(f"{where}: {value!r} ({value.dtype}) has no exact Python number: convert it to float first")
    return plain(converted, where)


def _from_pandas(value: Any, where: str) -> Any:
    kind = type(value).__name__
    if kind in ("NAType", "NaTType"):
        return None
    if kind not in ("Timestamp", "Timedelta"):
        return _refused(value, where)
    if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
        raise SpaceError(f"{where}: {value!r} has nanoseconds: pass value.to_numpy(), or round it to microseconds")
    return plain(value.to_pydatetime() if kind == "Timestamp" else value.to_pytimedelta(), where)


_BY_MODULE: dict[str, Callable[[Any, str], Any]] = {
    "datetime": _time,
    "decimal": _decimal,
    "numpy": _from_numpy,
    "pandas": _from_pandas,
}


def _key(key: Any, where: str) -> str:
    if type(key) is str and is_unicode(key):
        return key
    raise SpaceError(f"{where}: a dict as a value needs text keys, in Unicode, got {key!r}: pass a list of pairs")


def checked_integer(value: int, where: str) -> int:
    """``value`` if it fits 64 bits."""
    if value not in INTEGERS:
        raise SpaceError(f"{where}: {value} does not fit 64 bits: pass it as text and convert it in your function")
    return value


def checked_size(value: Any, size: int, where: str) -> Any:
    """``value`` if it is not too large for a message."""
    if size > MAX_BYTES:
        raise SpaceError(
            f"{where}: a value of {size >> 20} MiB is too large to travel (at most {MAX_BYTES >> 20} MiB): write it "
            "to a file and pass its name"
        )
    return value


def finite(value: float, where: str) -> float:
    """``value`` as a Python float; NaN and infinities are refused: there is no formula with them."""
    number = float(value)
    if not math.isfinite(number):
        raise SpaceError(f"{where}: expected finite numbers, got {number}")
    return number


def plain_values(values: Iterable[Any], where: str) -> list[Any]:
    """All ``values`` as they arrive. A mixture of integers and floats becomes floats, so that a column has one type."""
    items = list(values)
    kinds = set(map(type, items))
    if not _is_plain(items, kinds):
        items = [plain(item, where) for item in items]
    return unified(items)


def _is_plain(items: list[Any], kinds: set[type]) -> bool:
    """The common cases, decided without a loop in Python."""
    if kinds == {int}:
        return min(items) in INTEGERS and max(items) in INTEGERS
    return kinds <= _FREE_TYPES - {str, bytes} or (kinds <= _FREE_TYPES and max(map(len, _sized(items))) <= MAX_BYTES)


def _sized(items: list[Any]) -> list[Any]:
    return [item for item in items if type(item) is str or type(item) is bytes]


def unified(values: list[Any]) -> list[Any]:
    """``values`` with integers turned into floats if both occur (``None`` aside) and no digit is lost."""
    if set(map(type, values)) - {type(None)} != {int, float}:
        return values
    if all(item in EXACT_FLOATS for item in values if type(item) is int):
        return [item if item is None else float(item) for item in values]
    return values


def column_array(values: Sequence[Any]) -> NDArray[Any]:
    """An array equal to ``values`` item by item: of bool, int64, float64, complex128 or one kind of NumPy's times; of
    objects for everything else."""
    import numpy as np

    if isinstance(values, range):
        return np.arange(values.start, values.stop, values.step, dtype=np.int64)
    kinds = set(map(type, values))
    dtype: type[np.generic] | type[object] = object
    for kind, wanted in _COLUMN_TYPES.items():
        if kinds == {kind}:
            dtype = np.dtype(wanted).type
    if kinds in ({np.datetime64}, {np.timedelta64}) and len({value.dtype for value in values}) == 1:
        return np.array(values)
    return np.fromiter(values, dtype=dtype, count=len(values))


def items_of(array: NDArray[Any]) -> list[Any]:
    """The values that :func:`column_array` made ``array`` of."""
    items: list[Any] = list(array) if array.dtype.kind in "mM" else array.tolist()
    return items


_COLUMN_TYPES: dict[type, str] = {bool: "?", int: "i8", float: "f8", complex: "c16"}


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` if each can be a parameter of a function and none comes twice."""
    seen: list[str] = []
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise SpaceError(f"{name!r} cannot be a parameter name: expected a Python identifier such as 'spot_price'")
        if name in seen:
            raise SpaceError(f"the parameter {name!r} is given twice: each name may occur once")
        seen.append(name)
    if not seen:
        raise SpaceError("the space has no parameters: give at least one, for example grid(x=[1, 2, 3])")
    return tuple(seen)


def check_size(size: int) -> int:
    """``size`` if a space may be that large, and is not empty."""
    if size < 1:
        raise SpaceError("the space is empty: every axis needs at least one value")
    if size > MAX_SIZE:
        raise SpaceError(f"the space has {size:.3g} parameters, more than the {MAX_SIZE:.3g} that can be indexed")
    return size
