"""Globals that an initializer has set, for the functions that are unpickled after it.

A function of a program's main file travels with those of its globals that it needs, and has a dict of its own for them
where it is unpickled. What an initializer of that file sets is in another one, which its other functions do not see.
"""

from __future__ import annotations

import copy
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

Globals = Mapping[str, Mapping[str, Any]]
"""By module."""

current: Globals = {}
"""What functions are given that are unpickled now; whoever unpickles for somebody else changes it."""

_FILLED = (dict, list, set, bytearray, deque)
_ABSENT = object()


def set_by(initializer: Callable[..., object], args: Sequence[Any]) -> Globals:
    """Call it. Returns the globals that it has set or filled, if no module has them."""
    namespace = _without_module(initializer)
    before = {name: (value, _copied(value)) for name, value in (namespace or {}).items()}
    initializer(*args)
    if namespace is None:
        return {}
    changed = {
        name: value
        for name, value in namespace.items()
        if name != "__builtins__" and _has_changed(*before.get(name, (_ABSENT, None)), value)
    }
    return {namespace["__name__"]: changed}


def give(namespace: dict[str, Any]) -> None:
    """To the globals of a function that was just unpickled."""
    if given := current.get(namespace.get("__name__", "")):
        namespace.update(given)


def _without_module(function: Any) -> dict[str, Any] | None:
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    namespace = getattr(function, "__globals__", None) or getattr(type(function).__call__, "__globals__", None)
    if namespace is None or "__name__" not in namespace:
        return None
    module = sys.modules.get(namespace["__name__"])
    return None if module is not None and vars(module) is namespace else namespace


def _copied(value: Any) -> Any:
    return copy.copy(value) if isinstance(value, _FILLED) else None


def _has_changed(before: Any, copied: Any, value: Any) -> bool:
    if value is not before:
        return True
    try:
        return copied is not None and bool(copied != value)
    except Exception:  # of what cannot be compared, arrays say
        return True
