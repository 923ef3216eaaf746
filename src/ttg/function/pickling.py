"""Pickles of whatever a program has, also of what only its main file has: cloudpickle's, but for two things.

Functions that travel by value are given what an initializer has set where they are unpickled (``initialized``).
cloudpickle 3.1 makes classes again without their ``__slots__``. An instance that is made of such a class there has a
dict instead, and cannot be unpickled here, where its class has none.
"""

from __future__ import annotations

import io
from abc import ABCMeta
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import cloudpickle

from ttg.function import initialized

PROTOCOL = 5


_reduced = cloudpickle.Pickler.reducer_override
_set_function = cloudpickle.cloudpickle._function_setstate


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """As pickle's."""

    def reducer_override(self, value: Any) -> Any:
        """How to make ``value`` again, for what pickle does not know by itself."""
        reduced = _reduced(self, value)
        if isinstance(value, type) and isinstance(reduced, tuple) and _has_slots_of_its_own(value):
            metaclass, _, _, namespace, *_ = reduced[1]
            if metaclass is type(value):
                namespace["__slots__"] = vars(value)["__slots__"]
        elif isinstance(value, FunctionType) and isinstance(reduced, tuple) and reduced[-1] is _set_function:
            return *reduced[:-1], set_function
        return reduced


def set_function(function: FunctionType, state: Any) -> None:
    """Give an unpickled function what it came with, and what an initializer has set since."""
    _set_function(function, state)
    initialized.give(function.__globals__)


def _has_slots_of_its_own(kind: type) -> bool:
    """Not those that another metaclass, or ``NamedTuple``, gives it again."""
    plain = type(kind) in (type, ABCMeta) and NamedTuple not in getattr(kind, "__orig_bases__", ())
    return plain and "__slots__" in vars(kind)


def dumps(value: Any, buffer_callback: Callable[[Any], Any] | None = None) -> bytes:
    """``value`` as a pickle; ``buffer_callback`` as that of :class:`pickle.Pickler`."""
    with io.BytesIO() as file:
        Pickler(file, PROTOCOL, buffer_callback).dump(value)
        return file.getvalue()
