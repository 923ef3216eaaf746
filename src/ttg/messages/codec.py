"""What every message has in common: frozen, strictly decoded JSON."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ttg.errors import MessageError

M = TypeVar("M")


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything that travels; subclasses are plain data."""


_encoder = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(message: msgspec.Struct) -> bytes:
    """JSON bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes | str | memoryview, kind: type[M] | Any) -> M:
    """Decode JSON into ``kind``; anything unexpected is a :class:`MessageError` naming the field."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind, strict=True)
    try:
        message: M = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        name = getattr(kind, "__name__", "event")
        raise MessageError(f"expected a {name}: {error}") from error
    return message
