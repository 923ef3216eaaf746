"""Pickles that travel through a broker: each begins with a MAC of what follows, under a key that the broker has not.

Whoever may write to the broker could otherwise have any code executed by whoever unpickles what is found there.
"""

from __future__ import annotations

import hashlib
import hmac

from ttg.errors import FunctionError

MAC_BYTES = 16


def key_of(secret: str | bytes, identity: str) -> bytes:
    """The key for one run: what was sealed for another one does not count."""
    material = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(material, b"ttg-calls:" + identity.encode(), hashlib.sha256).digest()


def seal(key: bytes, data: bytes) -> bytes:
    """``data`` behind its MAC."""
    return hashlib.blake2b(data, digest_size=MAC_BYTES, key=key).digest() + data


def unsealed(key: bytes, data: bytes | memoryview) -> memoryview:
    """What was sealed with ``key``. Raises ``FunctionError`` if it was not."""
    view = memoryview(data)
    mac = hashlib.blake2b(view[MAC_BYTES:], digest_size=MAC_BYTES, key=key).digest()
    if not hmac.compare_digest(mac, view[:MAC_BYTES]):
        raise FunctionError(
            "a call or its result was not signed with the secret that is known here: use one TTG_SECRET"
        )
    return view[MAC_BYTES:]
