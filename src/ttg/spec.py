"""What a run is, frozen: the function, the space, the policies. Workers get it through the broker.

A :class:`RunSpec` is versioned and strictly decoded; two runs with equal :func:`fingerprint` compute the same table.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import msgspec

from ttg.errors import MessageError
from ttg.messages import Message, StoreRef, decode, encode

SPEC_VERSION = 3
"""3: tagged parameters, seeds of 31 bits. Runs of version 2 go on as they began."""

_READABLE_VERSIONS = (2, SPEC_VERSION)


class FunctionRef(Message, frozen=True):
    """Where the function is. ``kind`` says how ``location`` is read.

    ``file``: a path to a Python file; ``module``: a dotted module name; ``pickled``: the input of the run that is
    called ``packed``, for functions that exist only in a notebook or a script; ``beside``: in the pickle of the run's
    function, by its name; ``program``: a path, or a name that PATH knows, with the command line as JSON in ``blob``. A
    pickle has as ``signature`` an HMAC-SHA256 by the shared secret (``TTG_SECRET``) or by one that only this user has,
    and ``python`` the version that made it; on its way to workers ``blob`` is the input itself (base64), if that is
    small. ``code`` is a fingerprint of the source; ``helpers`` are those of the user's own modules that it imports, by
    name: a hash of the bytes and one of the code (empty for a compiled module, and for what a program is made of).
    """

    kind: str
    location: str
    name: str
    code: str = ""
    blob: str = ""
    signature: str = ""
    python: str = ""
    packed: str = ""
    helpers: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)

    def __str__(self) -> str:
        return self.location if self.kind == "program" else f"{self.location}:{self.name}"

    @property
    def allowing(self) -> tuple[str, str]:
        """What a worker that may execute it is told."""
        return ("--allow-program" if self.kind == "program" else "--allow"), str(self)


class SharedRef(Message, frozen=True):
    """An object that all calls share: the input of the run that is called ``packed``, signed as functions are."""

    packed: str
    python: str
    signature: str


class RetryPolicy(Message, frozen=True):
    """A failed parameter is tried ``max_retries`` more times, each at least ``delay_ms`` after the failure before."""

    max_retries: int = 3
    delay_ms: int = 5000


class Limits(Message, frozen=True):
    """Limits of one slot. ``timeout_seconds`` is per parameter; ``memory_bytes`` per child; ``None`` is unlimited.
    ``load_seconds`` is how long the import of the function may take.

    ``checkpoint_seconds`` is how long a child works before what it has is settled and the remainder goes back.
    """

    timeout_seconds: float | None = None
    memory_bytes: int | None = None
    checkpoint_seconds: float = 2.0
    load_seconds: float = 600.0


class RunSpec(Message, frozen=True):
    """One run, frozen. ``space`` is what :func:`ttg.space.space_to_json` made; ``size`` its length N.
    ``identity`` is a nonce that no other run has, made by :func:`new_identity`. ``store`` is
    where its coordinator takes payloads from, this time. ``needs`` are labels that a worker must have.
    ``setup`` is called once in each child, before the first call."""

    run: str
    function: FunctionRef
    space: dict[str, Any]
    size: int
    names: tuple[str, ...]
    seed: int = 0
    retry: RetryPolicy = RetryPolicy()
    limits: Limits = Limits()
    vectorized: bool = False
    priority: int = 0
    created: float = 0.0
    version: int = 2  # which did not write it down
    identity: str = ""
    store: StoreRef | None = None
    shared: dict[str, SharedRef] = msgspec.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    setup: FunctionRef | None = None

    @property
    def loaded(self) -> str:
        """What a child loads before the first call, for people."""
        return f"{self.function} with its setup {self.setup}" if self.setup else str(self.function)

    @property
    def called(self) -> list[FunctionRef]:
        """What a worker must be allowed: the function, and the setup, unless that is in the function's pickle."""
        return [ref for ref in (self.function, self.setup) if ref and ref.kind != "beside"]

    @property
    def wide_seeds(self) -> bool:
        """Whether ``seed`` has 63 bits, as in runs of version 2."""
        return self.version < 3


def lacking(needs: Iterable[str], labels: Iterable[str]) -> str:
    """Which of the ``needs`` of a run a worker with those ``labels`` does not meet, in words; nothing if it meets all.
    ``mem=large`` meets ``mem=large`` and ``mem``."""
    has = {name for label in labels for name in (label, label.partition("=")[0])}
    missing = [need for need in needs if need not in has]
    return f"the label{'s' if len(missing) > 1 else ''} {', '.join(missing)}" if missing else ""


def new_identity() -> str:
    """Sixteen hexadecimal digits that nobody else has."""
    return os.urandom(8).hex()


def encode_spec(spec: RunSpec) -> bytes:
    """JSON of a specification."""
    return encode(spec)


def decode_spec(data: bytes | msgspec.Raw) -> RunSpec:
    """Strictly decode a specification; another version or an unknown field is a :class:`MessageError`."""
    spec: RunSpec = decode(bytes(data), RunSpec)
    if spec.version not in _READABLE_VERSIONS:
        raise MessageError(
            f"expected a run specification of version {SPEC_VERSION}, got version {spec.version}: "
            "use the same TTG version for the coordinator and its workers"
        )
    return spec


def fingerprint(spec: RunSpec) -> str:
    """SHA-256 over what decides the table: function, code, space and seed; not the policies, not the run id."""
    parts: dict[str, Any] = {
        "function": spec.function.name,
        "code": spec.function.code,
        "space": spec.space,
        "size": spec.size,
        "seed": spec.seed,
        "vectorized": spec.vectorized,
    }
    if spec.function.helpers:
        parts["helpers"] = {name: code or data for name, (data, code) in spec.function.helpers.items()}
    if spec.setup:
        parts["setup"] = [spec.setup.name, spec.setup.code, spec.setup.helpers]
    if spec.shared:
        parts["shared"] = {name: ref.packed for name, ref in spec.shared.items()}
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()
