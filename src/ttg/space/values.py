"""What a parameter may be: plain data that reads the same in Python, in JSON and in a column of the table.

Numbers, text, booleans and ``None``, and lists and dicts of them. NumPy scalars become Python's, tuples become lists,
dates become ISO text. Numbers are finite and integers fit 64 bits, because JSON and Arrow would change the others
without a word.
"""

from __future__ import annotations

import datetime
import keyword
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ttg.errors import SpaceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIZE = 2**63 - 1
INTEGERS = range(-(2**63), 2**63)
EXACT_FLOATS = range(-(2**53), 2**53 + 1)


def plain(value: Any, where: str) -> Any:
    """``value`` as plain data; ``where`` names its place in the error message ("axis 'x'")."""
    if value is None or isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return checked_integer(int(value), where)
    if isinstance(value, float):
        return finite(value, where)
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in value]
    if isinstance(value, dict):
        return {_key(key, where): plain(item, where) for key, item in value.items()}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _from_numpy(value, where)
    raise SpaceError(
        f"{where}: expected numbers, text, booleans, None, or lists and dicts of them; got {value!r} "
        f"({type(value).__name__}): pass a name or a number and look the object up in your function"
    )


def _from_numpy(value: Any, where: str) -> Any:
    converted = value.tolist()
    if type(converted) is type(value):
        raise SpaceError(f"{where}: {value!r} ({value.dtype}) has no exact Python number: convert it to float first")
    return plain(converted, where)


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return key
    raise SpaceError(f"{where}: a dict as a value needs text keys, got {key!r}")


def checked_integer(value: int, where: str) -> int:
    """``value`` if it fits 64 bits."""
    if value not in INTEGERS:
        raise SpaceError(f"{where}: {value} does not fit 64 bits: pass it as text and convert it in your function")
    return value


def finite(value: float, where: str) -> float:
    """``value`` as a Python float; NaN and infinities are refused."""
    number = float(value)
    if not math.isfinite(number):
        raise SpaceError(f"{where}: expected finite numbers, got {number}: use None or text for what is not a number")
    return number


def plain_values(values: Iterable[Any], where: str) -> list[Any]:
    """All ``values`` as plain data. A mixture of integers and floats becomes floats, so that a column has one type."""
    items = list(values)
    kinds = set(map(type, items))
    if not _is_plain(items, kinds):
        items = [plain(item, where) for item in items]
    return unified(items)


def _is_plain(items: list[Any], kinds: set[type]) -> bool:
    """The common cases, decided without a loop in Python."""
    if kinds == {float}:
        return all(map(math.isfinite, items))
    if kinds == {int}:
        return min(items) in INTEGERS and max(items) in INTEGERS
    return kinds <= {str, bool, type(None)}


def unified(values: list[Any]) -> list[Any]:
    """``values`` with integers turned into floats if both occur (``None`` aside) and no digit is lost."""
    if set(map(type, values)) - {type(None)} != {int, float}:
        return values
    if all(item in EXACT_FLOATS for item in values if type(item) is int):
        return [item if item is None else float(item) for item in values]
    return values


def column_array(values: Sequence[Any]) -> NDArray[Any]:
    """An array equal to ``values`` item by item: bool, int64, float64, or object for everything else."""
    import numpy as np

    if isinstance(values, range):
        return np.arange(values.start, values.stop, values.step, dtype=np.int64)
    kinds = set(map(type, values))
    dtype: type[np.generic] | type[object] = object
    for kind, wanted in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
        if kinds == {kind}:
            dtype = wanted
    return np.fromiter(values, dtype=dtype, count=len(values))


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
