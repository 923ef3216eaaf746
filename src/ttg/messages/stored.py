"""References to what does not travel through the broker."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ttg.messages.codec import Message


class StoreRef(Message, frozen=True):
    """Where the store of a run is. ``proof`` is what its coordinator wrote there: who reads it shares that store.
    ``named``: somebody asked for this one. ``signature``: by the secret that signs functions, if there is one."""

    place: str
    proof: str
    named: bool = False
    signature: str = ""


class Stored(Message, frozen=True):
    """An object: its name, its size in bytes and the CRC-32 of them. Whoever reads a message reads and removes what it
    names, so the name is nothing but one that a store has made up."""

    name: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    size: int
    checksum: int


class Files(Message, frozen=True):
    """What calls have left in their folders: a tar archive, each file below its index: ``inline``, or an object."""

    inline: bytes = b""
    stored: Stored | None = None
