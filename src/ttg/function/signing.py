"""Functions without a module, as signed pickles. Nothing is unpickled whose signature was not checked first."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import pickle
import sys
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from ttg.errors import FunctionError
from ttg.spec import FunctionRef

Secret = str | bytes | None


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
    code = code_of(function)
    return FunctionRef("pickled", location, name, code, blob, _signature(key, location, name, code, blob))


def unpickled(ref: FunctionRef, secret: Secret) -> Any:
    """The function that :func:`pickled_reference` packed, if whoever packed it knew ``secret``."""
    key = _key(secret, str(ref))
    expected = _signature(key, ref.location, ref.name, ref.code, ref.blob)
    if not hmac.compare_digest(expected.encode(), ref.signature.encode()):
        raise FunctionError(f"{ref}: its signature is not by this worker's TTG_SECRET: use one secret everywhere")
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


def _signature(key: bytes, *parts: str) -> str:
    # Each part with its length, so that no two lists of parts sign the same bytes.
    message = b"".join(b"%d:%b" % (len(data), data) for data in (part.encode() for part in parts))
    return hmac.new(key, b"ttg-ref:" + message, hashlib.sha256).hexdigest()


def code_of(function: Callable[..., Any]) -> str:
    """A fingerprint of a function without a module: bytecode, constants, names, defaults, plain closed-over values."""
    digest = hashlib.sha256()
    code = getattr(function, "__code__", None)
    digest.update(repr(_facts(code) if code else type(function).__qualname__).encode())
    closed_over = [_contents(cell) for cell in getattr(function, "__closure__", None) or ()]
    for value in (*closed_over, *(getattr(function, "__defaults__", None) or ())):
        digest.update(repr(value if isinstance(value, int | float | str | None) else type(value)).encode())
    return digest.hexdigest()


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
