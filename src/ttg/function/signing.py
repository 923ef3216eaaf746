"""Functions without a module, as signed pickles. Nothing is unpickled whose signature was not checked first."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import msgspec

from ttg.errors import FunctionError, StoreError
from ttg.function.packing import FindInput, Inputs, Packed, unpacked, unpacked_from
from ttg.messages import StoreRef
from ttg.spec import FunctionRef, RunSpec, SharedRef

Secret = str | bytes | None
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PICKLE_BYTES = 4 << 20
"""Pickles of functions up to this size travel with the run's specification, whoever shares its store."""


carried: dict[str, Any] = {}
"""What came beside the function that this process has unpickled last, by name."""


def pickled_reference(
    function: Callable[..., Any],
    location: str,
    name: str,
    secret: Secret,
    inputs: Inputs,
    beside: Sequence[Any] = (),
) -> FunctionRef:
    """A reference to a function, and what it needs ``beside``, as one of ``inputs``; signed with ``secret``."""
    key = _key(secret, f"{location}:{name}")
    try:
        packed = Packed((function, *beside) if beside else function)
    except Exception as error:  # whatever a user's object raises when it is pickled
        reason = f"{type(error).__name__}: {error}"
        raise FunctionError(f"{location}:{name} cannot be sent to a worker ({reason}): move it into a file") from error
    inputs[packed.name] = packed
    ref = FunctionRef("pickled", location, name, code_of(function), python=PYTHON, packed=packed.name)
    return msgspec.structs.replace(ref, signature=_signature(key, ref))


def with_pickles(spec: RunSpec, find_input: FindInput) -> RunSpec:
    """The specification as workers get it: pickles of its function and setup that are small travel with it."""
    setup = _with_pickle(spec.setup, find_input) if spec.setup else None
    return msgspec.structs.replace(spec, function=_with_pickle(spec.function, find_input), setup=setup)


def _with_pickle(ref: FunctionRef, find_input: FindInput) -> FunctionRef:
    if not ref.packed:
        return ref
    try:
        path = find_input(ref.packed)
        small = path.read_bytes() if path.stat().st_size <= PICKLE_BYTES else b""
    except OSError as error:
        raise FunctionError(f"{ref}: its pickle cannot be read: {error}") from error
    return msgspec.structs.replace(ref, blob=base64.b64encode(small).decode())


def unpickled(ref: FunctionRef, secret: Secret, find_input: FindInput) -> Any:
    """The function that :func:`pickled_reference` packed, if whoever packed it knew ``secret``."""
    _check(str(ref), ref.signature, _signature(_key(secret, str(ref)), ref), ref.python)
    try:
        if ref.blob:
            found = unpacked_from(bytearray(base64.b64decode(ref.blob, validate=True)), ref.packed, str(ref))
        else:
            found = unpacked(ref.packed, find_input)
    except FunctionError:
        raise
    except binascii.Error as error:
        raise FunctionError(f"{ref}: the function it carries is damaged") from error
    except Exception as error:  # whatever importing what the function refers to raises
        reason = f"{type(error).__name__}: {error}"
        raise FunctionError(f"{ref}: cannot be unpacked here ({reason}): install what it uses") from error
    if not isinstance(found, tuple):
        return found
    function, *beside = found
    carried.clear()
    carried.update({item.__name__: item for item in beside})
    classes = {name: item for name, item in carried.items() if isinstance(item, type)}
    vars(sys.modules["__main__"]).update(classes)
    return function


def shared_reference(name: str, value: Any, secret: Secret, inputs: Inputs) -> SharedRef:
    """``value``, which all calls get as ``name``, as one of ``inputs``; signed with ``secret``."""
    key = _key(secret, f"shared {name}")
    try:
        packed = Packed(value)
    except Exception as error:  # whatever a user's object raises when it is pickled
        raise FunctionError(f"shared {name!r} cannot be pickled ({type(error).__name__}: {error})") from error
    inputs[packed.name] = packed
    return SharedRef(packed.name, PYTHON, _signed(key, b"ttg-shared:", name, packed.name, PYTHON))


def shared_value(name: str, ref: SharedRef, secret: Secret, find_input: FindInput) -> Any:
    """What :func:`shared_reference` packed, if whoever packed it knew ``secret``."""
    label = f"shared {name}"
    signature = _signed(_key(secret, label), b"ttg-shared:", name, ref.packed, ref.python)
    _check(label, ref.signature, signature, ref.python)
    try:
        return unpacked(ref.packed, find_input)
    except FunctionError:
        raise
    except Exception as error:  # whatever importing what the object refers to raises
        reason = f"{type(error).__name__}: {error}"
        raise FunctionError(f"{label} cannot be unpacked here ({reason}): install what it uses") from error


def signed_store(ref: StoreRef, identity: str, secret: Secret) -> StoreRef:
    """``ref``, as the store of the run of that ``identity``; unsigned where there is no ``secret``."""
    return msgspec.structs.replace(ref, signature=_store_signature(ref, identity, secret)) if secret else ref


def check_store(ref: StoreRef, identity: str, secret: Secret) -> None:
    """Raises ``StoreError`` unless whoever named the store knew ``secret``, if there is one here: it comes from the
    broker, and results are written there."""
    if secret and not hmac.compare_digest(_store_signature(ref, identity, secret).encode(), ref.signature.encode()):
        raise StoreError(f"{ref.place} is not signed by this worker's TTG_SECRET: use one secret everywhere")


def _store_signature(ref: StoreRef, identity: str, secret: Secret) -> str:
    return _signed(_key(secret, ref.place), b"ttg-store:", identity, ref.place, ref.proof, str(ref.named))


def _check(label: str, given: str, expected: str, python: str) -> None:
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise FunctionError(f"{label}: its signature is not by this worker's TTG_SECRET: use one secret everywhere")
    if python != PYTHON:
        raise FunctionError(
            f"{label} may hold byte code of Python {python}, which Python {PYTHON}, here, may crash on: use workers "
            f"with Python {python}, or move the function into a file or module"
        )


def _key(secret: Secret, label: str) -> bytes:
    if not secret:
        raise FunctionError(
            f"{label} exists only in the memory of the process that started the run, so it travels as a signed pickle: "
            "set TTG_SECRET to the same value everywhere, or move it into a file or module"
        )
    return secret.encode() if isinstance(secret, str) else secret


def _signature(key: bytes, ref: FunctionRef) -> str:
    """Of the pickle by its name, which is a digest."""
    return _signed(key, b"ttg-ref:", ref.location, ref.name, ref.code, ref.python, ref.packed)


def _signed(key: bytes, label: bytes, *parts: str) -> str:
    # Each part with its length, so that no two lists of parts sign the same bytes.
    message = b"".join(b"%d:%b" % (len(data), data) for data in (part.encode() for part in parts))
    return hmac.new(key, label + message, hashlib.sha256).hexdigest()


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
