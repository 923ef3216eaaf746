"""Times, sizes and shares as people write them on a command line. Pure."""

from __future__ import annotations

import re

from ttg.errors import SettingsError

SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
TIMES = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(text: str | None, option: str) -> float | None:
    """``500ms``, ``2.5s``, ``3min``, ``1h`` or plain seconds.

    >>> seconds("500ms", "--timeout"), seconds("2min", "--timeout")
    (0.5, 120.0)
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9.]+)\s*(ms|s|min|m|h|)\s*", text)
    number = _number(match[1]) if match else None
    if match is None or number is None:
        raise SettingsError(f"{option}: expected a time such as 500ms, 30s or 2min, got {text!r}")
    return number * TIMES[match[2]]


def size_bytes(text: str | None, option: str) -> int | None:
    """``512M``, ``2G``, ``2GiB`` or plain bytes.

    >>> size_bytes("2k", "--memory")
    2048
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)(i?b)?\s*", text.lower())
    number = _number(match[1]) if match else None
    if match is None or number is None:
        raise SettingsError(f"{option}: expected a size such as 512M or 2G, got {text!r}")
    return int(number * SIZES[match[2]])


def max_failures(text: str, size: int) -> int:
    """``100``, or ``5%`` of ``size`` parameters.

    >>> max_failures("5%", 1000)
    50
    """
    number = _number(text.rstrip("%"))
    if number is None or number < 0:
        raise SettingsError(f"--max-failures: expected a number such as 100, or a share such as 5%, got {text!r}")
    return int(number * size / 100) if text.endswith("%") else int(number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
