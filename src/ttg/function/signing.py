"""Functions without a module, as signed pickles. Nothing is unpickled whose signature was not checked first."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import msgspec

from ttg.errors import FunctionError
from ttg.spec import FunctionRef

Secret = str | bytes | None
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def pickled_reference(
    function: Callable[..., Any], location: str, name: str, secret: Secret, classes: Sequence[type] = ()
) -> FunctionRef:
    """A reference that carries its function, and ``classes`` for its parameters; signed with ``secret``."""
    import cloudpickle

    key = _key(secret, f"{location}:{name}")
    try:
        blob = base64.b64encode(cloudpickle.dumps((function, *classes) if classes else function)).decode()
    except Exception as error:  # whatever a user's object raises when it is pickled
        reason = f"{type(error).__name__}: {error}"
        raise FunctionError(f"{location}:{name} cannot be sent to a worker ({reason}): move it into a file") from error
    ref = FunctionRef("pickled", location, name, code_of(function), blob, python=PYTHON)
    return msgspec.structs.replace(ref, signature=_signature(key, ref))


def unpickled(ref: FunctionRef, secret: Secret) -> Any:
    """The function that :func:`pickled_reference` packed, if whoever packed it knew ``secret``."""
    key = _key(secret, str(ref))
    if not hmac.compare_digest(_signature(key, ref).encode(), ref.signature.encode()):
        raise FunctionError(f"{ref}: its signature is not by this worker's TTG_SECRET: use one secret everywhere")
    if ref.python != PYTHON:
        raise FunctionError(
            f"{ref} is byte code of Python {ref.python}, which Python {PYTHON}, here, may crash on: use workers "
            f"with Python {ref.python}, or move the function into a file or module"
        )
    try:
        found = pickle.loads(base64.b64decode(ref.blob, validate=True))  # noqa: S301 - its signature was checked
    except binascii.Error as error:
        raise FunctionError(f"{ref}: the function it carries is damaged") from error
    except Exception as error:  # whatever importing what the function refers to raises
        reason = f"{type(error).__name__}: {error}"
        raise FunctionError(f"{ref}: cannot be unpacked here ({reason}): install what it uses") from error
    if not isinstance(found, tuple):
        return found
    function, *classes = found
    vars(sys.modules["__main__"]).update({kind.__name__: kind for kind in classes})
    return function


def _key(secret: Secret, label: str) -> bytes:
    if not secret:
        raise FunctionError(
            f"{label} exists only in the memory of the process that started the run, so it travels as a signed pickle: "
            "set TTG_SECRET to the same value everywhere, or move the function into a file or module"
        )
    return secret.encode() if isinstance(secret, str) else secret


def _signature(key: bytes, ref: FunctionRef) -> str:
    # Each part with its length, so that no two lists of parts sign the same bytes.
    parts = (ref.location, ref.name, ref.code, ref.blob, ref.python)
    message = b"".join(b"%d:%b" % (len(data), data) for data in (part.encode() for part in parts))
    return hmac.new(key, b"ttg-ref:" + message, hashlib.sha256).hexdigest()


def code_of(function: Callable[..., Any]) -> str:
    """A fingerprint of a function without a module: bytecode, constants, names, defaults, plain closed-over values, and
    those globals of its module that it uses: plain values, and functions in the same way."""
    digest = hashlib.sha256()
    for fact in _facts_of(function, set()):
        digest.update(repr(fact).encode())
    return digest.hexdigest()


def _facts_of(function: Any, seen: set[int]) -> Iterator[Any]:
    code = getattr(function, "__code__", None)
    if code is None or id(code) in seen:
        yield type(function).__qualname__
        return
    seen.add(id(code))
    yield _facts(code)
    closed_over = [_contents(cell) for cell in function.__closure__ or ()]
    names = [name for name in _names(code) if name in function.__globals__]
    for value in (*closed_over, *(function.__defaults__ or ()), *map(function.__globals__.get, names)):
        if getattr(value, "__module__", None) == function.__module__ and isinstance(value, FunctionType):
            yield from _facts_of(value, seen)
        else:
            yield value if isinstance(value, int | float | str | None) else type(value)


def _names(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return sorted({*code.co_names, *inner})


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return None


def _facts(code: CodeType) -> tuple[Any, ...]:
    return (code.co_code, tuple(map(_constant, code.co_consts)), code.co_names, code.co_varnames)


def _constant(constant: Any) -> Any:
    if isinstance(constant, CodeType):
        return _facts(constant)
    return sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant
