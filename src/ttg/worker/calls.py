"""Calls that a program makes one by one (:class:`ttg.Executor`), as a child executes them.

To a worker they are a run whose function is a :class:`CallRunner`. The one parameter of each of its indices, ``call``,
is a sealed pickle of function and arguments; its result is a sealed pickle of what the call returned or raised. So the
original exception reaches the caller, and whatever can be pickled.
"""

from __future__ import annotations

import binascii
import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ttg.errors import FunctionError
from ttg.function import FindInput, initialized, no_input
from ttg.function.packing import unpacked
from ttg.function.sealed import key_of, seal, unsealed
from ttg.worker.failures import outside_of_ttg
from ttg.worker.scalars import ScalarResults

INLINE, LARGE = b"i", b"l"
"""What a sealed call is: the pickle itself, or the name of an input of the run that is one."""
RETURNED, RAISED = b"=", b"!"
PLAIN = frozenset((int, float, str, bytes, bool, type(None)))


class CallRunner:
    """Executes calls, after ``initializer(*initargs)`` was called once in this process; a call that raises is tried
    ``retries`` more times. :meth:`opened` before use."""

    def __init__(
        self,
        identity: str,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[Any] = (),
        retries: int = 0,
    ) -> None:
        self._identity = identity
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._retries = retries
        self._key = b""
        self._context: _Context | None = None

    def opened(self, secret: str | bytes | None, find_input: FindInput) -> CallRunner:
        """The same, with what it takes to read calls. Raises what the initializer raises."""
        if not secret:
            raise FunctionError("calls are signed: start the worker with the TTG_SECRET of the program that makes them")
        self._key = key_of(secret, self._identity)
        self._context = _Context(find_input)
        self._context.enter()
        if self._initializer is not None:
            self._context.globals = initialized.set_by(self._initializer, self._initargs)
        return self

    def __call__(self, call: str) -> bytes:
        assert self._context is not None, "not opened"
        self._context.enter()
        try:
            text = unsealed(self._key, binascii.a2b_base64(call))
        except FunctionError as error:
            return seal(self._key, _raised(error))
        for retries_left in range(self._retries, -1, -1):
            try:
                function, args, kwargs = _unpickled(text)
                value = function(*args, **kwargs)
                break
            except BaseException as error:
                if not retries_left or not isinstance(error, Exception):
                    return seal(self._key, _raised(error))
        try:
            return seal(self._key, RETURNED + pickled(value))
        except BaseException as error:
            return seal(self._key, _raised(_not_picklable(value, error)))


class CallResults(ScalarResults):
    """Sealed pickles; a payload is a MessagePack array of them."""

    def payload(self, seconds: Sequence[float] | None, parameters: Mapping[str, Sequence[Any]]) -> bytes:
        return msgspec.msgpack.encode(self.items)


class _Context:
    """What the calls of one executor have in common in this process, which may execute those of several."""

    def __init__(self, find: FindInput) -> None:
        self.find = find
        self.function_from: Callable[[bytes], Callable[..., Any]] = lru_cache(maxsize=64)(pickle.loads)
        self.globals: initialized.Globals = {}

    def enter(self) -> None:
        """Before anything of these calls is unpickled."""
        global _context
        _context, initialized.current = self, self.globals


_context = _Context(no_input)


def pickled(value: Any) -> bytes:
    """``value``, also of a class or function that only this program has."""
    if type(value) in PLAIN:
        return pickle.dumps(value, 5)
    from ttg.function.pickling import dumps

    return dumps(value)


def function_from(data: bytes) -> Callable[..., Any]:
    """A function that many calls have in common. It was in a sealed call."""
    return _context.function_from(data)


@lru_cache(maxsize=8)
def common_object(name: str) -> Any:
    """A large object that many calls have in common, mapped and not to be written to."""
    value = unpacked(name, _context.find)
    if hasattr(value, "flags"):
        value.flags.writeable = False
    return value


def _unpickled(text: memoryview) -> Any:
    if text[:1] == LARGE:
        return unpacked(str(text[1:], "ascii"), _context.find)
    return pickle.loads(text[1:])  # noqa: S301 - it was sealed by whoever knows the secret


def _raised(error: BaseException) -> bytes:
    trace = outside_of_ttg(error.__traceback__)
    said = "".join(traceback.format_exception(type(error), error, trace))
    _without_trace(error)
    data = _checked((error, said)) or _checked((_AsItIs(error), said))
    if data is None:
        text = f"{type(error).__name__}: {error} (the exception itself cannot be pickled)"
        data = pickled((RuntimeError(text), said))
    return RAISED + data


def _checked(value: Any) -> bytes | None:
    """The pickle of it, if it can be made again from that: some exceptions cannot."""
    try:
        data = pickled(value)
        pickle.loads(data)  # noqa: S301 - our own
    except BaseException:
        return None
    return data


class _AsItIs:
    """An exception that is made again without its ``__init__``, of which ``args`` may not be the arguments. Not one
    that has more than Python can see of it, as ``SystemExit`` has its code."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        kind = type(self._error)
        built_in = next(base for base in kind.__mro__ if base.__module__ == "builtins")
        if built_in.__basicsize__ != BaseException.__basicsize__ or kind.__reduce__ is not BaseException.__reduce__:
            raise pickle.PicklingError(f"{kind.__name__} cannot be made again from its attributes")
        return _made_again, (kind, self._error.args, vars(self._error))


def _made_again(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


def _without_trace(error: BaseException) -> None:
    error.__traceback__ = error.__context__ = None  # of frames and of what cannot be pickled


def _not_picklable(value: Any, error: BaseException) -> BaseException:
    """What pickling has raised, as from the standard executors; a note says of what."""
    error.add_note(f"what the call returned, a {type(value).__name__}, cannot be pickled")
    return error
