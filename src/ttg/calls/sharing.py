"""Large arrays that many calls have in common: sent once to each machine, mapped by each call."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ttg.function.packing import Packed
from ttg.function.pickling import PROTOCOL, Pickler
from ttg.worker.calls import common_object

if TYPE_CHECKING:
    from ttg.calls.executor import Executor

LARGE_BYTES = 1 << 20
"""Smaller arrays travel with each call."""


class Sharing:
    """For calls that are made together, with arguments that do not change meanwhile. Until it is closed, a large array
    is sent when it is met first, and known again by its identity."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._names: dict[int, tuple[Any, str]] = {}

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """As :meth:`ttg.Executor.submit`."""
        return self._executor.submit_packed(lambda: Packed((function, args, kwargs), self._dumps))

    def close(self) -> None:
        """Nothing that was shared is needed any more."""
        for _, name in self._names.values():
            self._executor.release(name)
        self._names.clear()

    def _dumps(self, value: Any, buffer_callback: Callable[[Any], Any]) -> bytes:
        with io.BytesIO() as file:
            _Pickler(file, self._name_of, buffer_callback).dump(value)
            return file.getvalue()

    def _name_of(self, array: Any) -> str:
        if id(array) not in self._names:
            packed = Packed(array)
            self._executor.keep(packed)
            self._names[id(array)] = array, packed.name
        return self._names[id(array)][1]


class _Pickler(Pickler):
    def __init__(self, file: Any, name_of: Callable[[Any], str], buffer_callback: Callable[[Any], Any]) -> None:
        super().__init__(file, PROTOCOL, buffer_callback)
        self._name_of = name_of

    def reducer_override(self, value: Any) -> Any:
        if type(value).__name__ in ("ndarray", "memmap") and type(value).__module__ == "numpy" and _is_large(value):
            return common_object, (self._name_of(value),)
        return super().reducer_override(value)


def _is_large(array: Any) -> bool:
    return bool(array.nbytes >= LARGE_BYTES and not array.dtype.hasobject)
