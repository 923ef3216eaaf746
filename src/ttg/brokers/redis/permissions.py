"""Which of the commands that TTG needs a Redis or Valkey user may not use."""

from __future__ import annotations

from contextlib import suppress

from ttg.brokers.redis.connection import Connection, ServerError
from ttg.brokers.redis.keys import GROUP

Words = tuple[str | int, ...]


def _needed(key: str) -> tuple[Words, ...]:
    """Each in a form that is complete; what it means does not matter, for it is never executed."""
    return (
        ("EVAL", "return 1", 0),
        ("EVALSHA", "0" * 40, 0),
        ("HDEL", key, "x"),
        ("HGET", key, "x"),
        ("HGETALL", key),
        ("HSET", key, "x", "x"),
        ("HVALS", key),
        ("PING",),
        ("SET", key, "x"),
        ("TIME",),
        ("TYPE", key),
        ("UNLINK", key),
        ("XACK", key, GROUP, "1-1"),
        ("XADD", key, "*", "x", "x"),
        ("XCLAIM", key, GROUP, "x", 0, "1-1"),
        ("XDEL", key, "1-1"),
        ("XGROUP", "CREATE", key, GROUP, "0"),
        ("XGROUP", "DELCONSUMER", key, GROUP, "x"),
        ("XLEN", key),
        ("XPENDING", key, GROUP),
        ("XRANGE", key, "-", "+"),
        ("XREAD", "STREAMS", key, "0"),
        ("XREADGROUP", "GROUP", GROUP, "x", "STREAMS", key, ">"),
        ("XREVRANGE", key, "+", "-"),
        ("ZADD", key, 0, "x"),
        ("ZCARD", key),
        ("ZCOUNT", key, 0, 0),
        ("ZRANGE", key, 0, 0),
        ("ZRANGEBYSCORE", key, 0, 0),
        ("ZREM", key, "x"),
    )


async def forbidden(connection: Connection, key: str) -> list[str]:
    """What the user may not do with ``key``, one of TTG's: commands as an ACL writes them, and ``~key`` for the key.

    Asked in a transaction that is thrown away: the server checks what it takes into one, and executes nothing. Empty
    where the user may not even begin one. The connection must be nobody else's.
    """
    missing: list[str] = []
    with suppress(ServerError):
        await connection.ask("MULTI")
        for words in _needed(key):
            try:
                await connection.ask(*words)
            except ServerError as error:
                if not str(error).startswith("MOVED"):  # what may be done is looked at before where
                    missing.append(_name(words, str(error), key))
        await connection.ask("DISCARD")
    return list(dict.fromkeys(missing))


def _name(words: Words, error: str, key: str) -> str:
    if "run the" not in error:  # then it is about the key
        return f"~{key.rpartition('.tasks')[0]}.*"
    name = str(words[0]).lower()
    return f"{name}|{str(words[1]).lower()}" if name == "xgroup" else name
